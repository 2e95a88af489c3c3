"""The plan of an action: target machines, arguments, lifetime of the orders, rollout. Pure.

The command line and the dashboard build the same plan, ask for confirmation, and send it.

Invariants:
- Every target of a plan allows the action and accepts the arguments, as far as its own description says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.contract.action_catalogue import DISRUPTIVE, Offer, Target
from schemas.contract.action_schema import ArgumentError, find_fault
from schemas.contract.commands import Rollout

DEFAULT_LIFETIME_SECONDS: Final = 3600


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
        """Plan an action on the selected machines that allow it.

        Raises ArgumentError, with the machine's name, if one of them would reject the arguments.
        """
        targets = tuple(target for target in selected if offer.name in target.actions)
        for schema in offer.schemas:
            if wrong := find_fault(schema, arguments):
                described = (target for target in targets if target.actions[offer.name].arguments_schema == schema)
                raise ArgumentError(wrong, machine=next(described).name)
        chosen = rollout or Rollout()
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
    def confirmation(self) -> str:
        """Text to type as a confirmation: the name of the only target, or the number of targets."""
        return self.targets[0].name if len(self.targets) == 1 else str(len(self.targets))

    def rejecting(self, key: str) -> list[str]:
        """Return the names of targets that trust other keys but not the one with this id."""
        return [target.name for target in self.targets if target.keys and key not in target.keys]
