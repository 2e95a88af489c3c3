"""The state of the action dialog: selected machines, form input, the plan to confirm, what was sent. Pure.

Invariants:
- Machines are fixed by id when the dialog opens; changes of rows on the page do not affect it.
- A plan is sent from phase CONFIRM only, and once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dashboard.i18n import external_texts, text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _
from dashboard.publishing.publisher import SentBatch
from schemas.contract.action_catalogue import Offer, Target, list_offers
from schemas.contract.action_plan import DEFAULT_LIFETIME_SECONDS, ActionPlan
from schemas.contract.action_schema import ArgumentError
from schemas.contract.commands import Rollout

FORM, CONFIRM, SENT = "form", "confirm", "sent"

LIFETIMES: Final = (300, DEFAULT_LIFETIME_SECONDS, 86_400, 7 * 86_400)
"""Choices, in seconds, of how long an order waits for an offline machine."""

_NAMED_MAX: Final = 4


@dataclass(slots=True)
class ActionDraft:
    """State of one action dialog, from opening to closing."""

    targets: tuple[Target, ...]
    number: int = 0
    """Number of the dialog in the session; part of widget keys, so that state of earlier dialogs is not reused."""
    kept: dict[str, Any] = field(default_factory=dict)
    """Form values by widget key, restored by Back."""
    phase: str = FORM
    plan: ActionPlan | None = None
    problem: str = ""
    sent: SentBatch | None = None
    prepared: bool = False
    """Action and arguments were chosen outside the dialog, so there is no form to go back to."""

    def key(self, name: str) -> str:
        """Return the key of a widget of this dialog."""
        return f"act.{self.number}.{name}"

    @property
    def offered(self) -> list[Offer]:
        """Actions that every target allows."""
        return [offer for offer in list_offers(self.targets) if not offer.missing]

    @property
    def not_offered(self) -> list[str]:
        """One sentence per action that some targets do not allow."""
        return [
            _(
                "{action}: not allowed by {machines}",
                action=external_texts.translated(offer.title),
                machines=text.listed(offer.missing),
            )
            for offer in list_offers(self.targets)
            if offer.missing
        ]

    @property
    def title(self) -> str:
        """Action and number of machines, such as Reboot: 3 machines."""
        what = external_texts.translated(self.plan.title) if self.plan else _("Act")
        return _("{action}: {machines}", action=what, machines=text.machines(len(self.targets)))

    @property
    def word(self) -> str:
        """The text to type before a disruptive action is sent; empty for other actions."""
        return self.plan.confirmation if self.plan and self.plan.is_disruptive else ""

    def begin_with(self, action: str, arguments: Mapping[str, Any]) -> None:
        """Go on to the confirmation of an action chosen outside the dialog, if every target allows it."""
        offer = next((offer for offer in self.offered if offer.name == action), None)
        if offer is not None:
            self.prepared = True
            self.confirm(offer, arguments)

    def confirm(
        self,
        offer: Offer,
        arguments: Mapping[str, Any],
        *,
        lifetime_seconds: float = DEFAULT_LIFETIME_SECONDS,
        rollout: Rollout | None = None,
    ) -> None:
        """Go on to the confirmation, or set `problem` if a target would reject the arguments."""
        try:
            self.plan = ActionPlan.of(
                self.targets, offer, arguments, lifetime_seconds=lifetime_seconds, rollout=rollout
            )
        except ArgumentError as error:
            self.problem = translated_error(error)
            return
        self.phase, self.problem = CONFIRM, ""


def arguments(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return arguments as pairs of name and displayed value."""
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()]


def conditions(plan: ActionPlan) -> list[tuple[str, str]]:
    """Return arguments, lifetime and rollout as pairs of label and value."""
    facts = [
        *arguments(plan.arguments),
        (
            _("If a machine is away"),
            _("it is done within {time}, or not at all", time=text.period(round(plan.lifetime_seconds))),
        ),
    ]
    rollout = plan.rollout
    if rollout.canary:
        facts.append(
            (_("First"), _("{machines}; the others when these have succeeded", machines=text.machines(rollout.canary)))
        )
    if rollout.per_minute is not None:
        facts.append((_("Pace"), _("{machines} a minute", machines=text.machines(rollout.per_minute))))
    if rollout.stop_percent < 100:
        facts.append((_("Stop"), _("when more than {share} do not succeed", share=text.percent(rollout.stop_percent))))
    return facts
