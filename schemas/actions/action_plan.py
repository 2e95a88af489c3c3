"""The plan of an action: target machines, arguments, lifetime of the orders, rollout. Pure.

The command line and the dashboard build the same plan, ask for confirmation, and send it.

Invariants:
- Every target of a plan allows the action and accepts the arguments, as far as its own description says.
- An action that can take machines down runs at a pace on more than `ALL_AT_ONCE_MAX` of them, unless asked otherwise.
- Canaries are online machines as far as there are any: an offline one would hold back all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.actions.action_catalogue import DANGEROUS, DISRUPTIVE, PACED, Offer, Target
from schemas.actions.action_schema import ArgumentError, find_fault, read_fields
from schemas.contract.commands import Rollout

DEFAULT_LIFETIME_SECONDS: Final = 3600

ALL_AT_ONCE_MAX: Final = 5
"""Number of machines up to which the default is to run any action on all of them at once."""

CAREFUL_ROLLOUT: Final = Rollout(canary=2, per_minute=10, stop_percent=20)
_CAREFUL_MINUTES: Final = 30
"""Time within which a careful rollout sends all orders: well before they expire."""

_GROUPS_MAX: Final = 12


def default_rollout(action: str, machines: int) -> Rollout:
    """Return the rollout of an action on this number of machines if no other one is asked for."""
    if action not in PACED or machines <= ALL_AT_ONCE_MAX:
        return Rollout()
    per_minute = max(CAREFUL_ROLLOUT.per_minute or 0, -(-machines // _CAREFUL_MINUTES))
    return CAREFUL_ROLLOUT.model_copy(update={"per_minute": per_minute})


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """An action to run on machines. `left_out`: names of selected machines that do not allow it."""

    action: str
    title: str
    arguments: Mapping[str, Any]
    targets: tuple[Target, ...]
    left_out: tuple[str, ...] = ()
    lifetime_seconds: float = DEFAULT_LIFETIME_SECONDS
    """Time within which an offline machine may still run the action."""
    rollout: Rollout = field(default_factory=Rollout)

    @classmethod
    def of(
        cls,
        selected: Sequence[Target],
        offer: Offer,
        arguments: Mapping[str, Any],
        *,
        lifetime_seconds: float = DEFAULT_LIFETIME_SECONDS,
        rollout: Rollout | None = None,
    ) -> "ActionPlan":
        """Plan an action on the selected machines that allow it, with the default rollout if none is given.

        Raises ArgumentError, with the machine's name, if one of them would reject the arguments.
        """
        targets = tuple(target for target in selected if offer.name in target.actions)
        for schema in offer.schemas:
            if wrong := find_fault(schema, arguments):
                described = (target for target in targets if target.actions[offer.name].arguments_schema == schema)
                raise ArgumentError(wrong, machine=next(described).name)
        chosen = default_rollout(offer.name, len(targets)) if rollout is None else rollout
        if chosen.canary:
            targets = tuple(sorted(targets, key=lambda target: not target.is_online))
        return cls(offer.name, offer.title, dict(arguments), targets, offer.missing, lifetime_seconds, chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the target machines."""
        return tuple(target.name for target in self.targets)

    @property
    def is_disruptive(self) -> bool:
        """Whether the action interrupts what a machine is doing."""
        return self.action in DISRUPTIVE

    @property
    def is_dangerous(self) -> bool:
        """Whether the confirmation presents the action as dangerous."""
        return self.action in DANGEROUS

    @property
    def is_typed(self) -> bool:
        """Whether `confirmation` must be typed before the action is sent."""
        return self.is_disruptive or (self.is_dangerous and len(self.targets) > 1)

    @property
    def titled_arguments(self) -> list[tuple[str, Any]]:
        """The arguments with the titles that the targets describe them with."""
        titles: dict[str, str] = {}
        for target in self.targets:
            for each in read_fields(target.actions[self.action].arguments_schema):
                titles.setdefault(each.name, each.title)
        return [(titles.get(name, name), value) for name, value in self.arguments.items()]

    @property
    def confirmation(self) -> str:
        """Text to type as a confirmation: the name of the only target, or the number of targets."""
        return self.targets[0].name if len(self.targets) == 1 else str(len(self.targets))

    def rejecting(self, key: str) -> list[str]:
        """Return the names of targets that trust other keys but not the one with this id."""
        return [target.name for target in self.targets if target.keys and key not in target.keys]


def grouped(targets: Sequence[Target]) -> list[tuple[str, tuple[Target, ...]]]:
    """Return machines by a label that most of them have, such as "site=paris"; "", the last, for those without it."""
    key = _dividing_label(targets)
    found: dict[str, list[Target]] = {}
    for target in sorted(targets, key=lambda each: each.name):
        value = target.labels.get(key, "") if key else ""
        found.setdefault(f"{key}={value}" if value else "", []).append(target)
    return [(group, tuple(found[group])) for group in sorted(found, key=lambda group: (not group, group))]


def _dividing_label(targets: Sequence[Target]) -> str:
    """Return the label key that most targets have, of several that with the fewest values; "" if none makes groups."""
    values: dict[str, list[str]] = {}
    for target in targets:
        for key, value in target.labels.items():
            values.setdefault(key, []).append(value)
    useful = [key for key, found in values.items() if len(set(found)) <= min(_GROUPS_MAX, len(found) - 1)]
    return min(useful, key=lambda key: (-len(values[key]), len(set(values[key])), key), default="")
