"""An action that somebody is about to ask for: of whom, what, how, and whether it is meant. Pure.

Invariants:
- It names machines by their ids from the moment it begins; what happens to rows on the screen changes nothing.
- Nothing is sent but from the last phase, and once: `phase` only ever goes on from there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dashboard.i18n import agent_words, text
from dashboard.i18n.language import _
from dashboard.i18n.shared_words import retold
from dashboard.publishing.publisher import SentBatch
from schemas.contract.action_catalogue import DISRUPTIVE, Offer, Target, list_offers
from schemas.contract.action_schema import ArgumentError, ArgumentField, common_fields, find_fault, require_all
from schemas.contract.commands import Rollout

FORM, CONFIRM, SENT = "form", "confirm", "sent"

LIFETIMES: Final = (300, 3600, 86_400, 7 * 86_400)
"""For how many seconds an order may wait for a machine that is away."""

DEFAULT_LIFETIME: Final = 3600


@dataclass(slots=True)
class Draft:
    """What the dialog remembers from its opening to its closing."""

    targets: tuple[Target, ...]
    number: int = 0
    """Which of a visitor's dialogs it is: what is left of an earlier one has other names."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What the form held when it was left, by the names of its widgets."""
    phase: str = FORM
    offer: Offer | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    lifetime: int = DEFAULT_LIFETIME
    rollout: Rollout = field(default_factory=Rollout)
    problem: str = ""
    sent: SentBatch | None = None
    prepared: bool = False
    """Somebody chose action and arguments elsewhere: the dialog has no form of its own to go back to."""

    def key(self, name: str) -> str:
        """The name of a widget of this dialog."""
        return f"act.{self.number}.{name}"

    @property
    def names(self) -> tuple[str, ...]:
        """The machines' ids."""
        return tuple(target.name for target in self.targets)

    @property
    def offered(self) -> list[Offer]:
        """The actions that every target allows."""
        return [offer for offer in list_offers(self.targets) if not offer.missing]

    @property
    def not_offered(self) -> list[str]:
        """Why the other actions are not there, a sentence each."""
        return [
            _(
                "{action}: not allowed by {machines}",
                action=agent_words.translated(offer.title),
                machines=text.listed(offer.missing),
            )
            for offer in list_offers(self.targets)
            if offer.missing
        ]

    @property
    def title(self) -> str:
        """What will be done to how many, such as Reboot 3 machines."""
        what = agent_words.translated(self.offer.title) if self.offer else _("Act")
        return _("{action}: {machines}", action=what, machines=text.machines(len(self.targets)))

    @property
    def word(self) -> str:
        """What has to be typed before it is sent: the name of one machine, the number of several, or nothing."""
        if self.offer is None or self.offer.name not in DISRUPTIVE:
            return ""
        return self.targets[0].name if len(self.targets) == 1 else str(len(self.targets))

    def begin_with(self, action: str, arguments: Mapping[str, Any]) -> None:
        """Go on to the confirmation of an action that was chosen elsewhere, if every target takes it so."""
        self.offer = next((offer for offer in self.offered if offer.name == action), None)
        if self.offer is None:
            return
        self.arguments, self.prepared = dict(arguments), True
        self._check(self.offer)

    def prepare(self, given: Mapping[str, Any]) -> None:
        """Take up what the form holds and go on to the confirmation, or say what is wrong with it."""
        self.problem = ""
        if self.offer is None:
            return
        try:
            self.arguments = collected(common_fields(self.offer.schemas), given)
        except ArgumentError as error:
            self.problem = retold(error)
            return
        self._check(self.offer)

    def _check(self, offer: Offer) -> None:
        for schema in offer.schemas:
            self.problem = self.problem or retold(find_fault(schema, self.arguments))
        if not self.problem:
            self.phase = CONFIRM


def collected(fields: Sequence[ArgumentField], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a filled-in form: what was left empty is left out. Raises ArgumentError."""
    values: dict[str, Any] = {}
    for each in fields:
        value = given.get(each.name)
        if value is None or (value == "" and not each.required):
            continue
        if each.kind == "json":
            values[each.name] = each.parse(str(value))
        elif value == "" and each.required:
            raise ArgumentError(_("{argument} is missing", argument=each.title))
        else:
            wrong = each.fault(value)
            if wrong:
                raise ArgumentError(wrong)
            values[each.name] = value
    require_all(fields, values)
    return values


def arguments(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Arguments as names and values to read."""
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()]


def conditions(draft: Draft) -> list[tuple[str, str]]:
    """How it will be done, as names and values: for machines that are away, and one after another."""
    facts = [
        *arguments(draft.arguments),
        (
            _("If a machine is away"),
            _("it is done within {time}, or not at all", time=text.period(draft.lifetime)),
        ),
    ]
    rollout = draft.rollout
    if rollout.canary:
        facts.append(
            (_("First"), _("{machines}; the others when these have succeeded", machines=text.machines(rollout.canary)))
        )
    if rollout.per_minute is not None:
        facts.append((_("Pace"), _("{machines} a minute", machines=text.machines(rollout.per_minute))))
    if rollout.stop_percent < 100:
        facts.append((_("Stop"), _("when more than {share} do not succeed", share=text.percent(rollout.stop_percent))))
    return facts
