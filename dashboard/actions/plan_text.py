"""Texts about an action, and about the plan that the user confirms. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from dashboard.i18n import external_texts, text
from dashboard.i18n.language import _
from dashboard.widgets import cells
from schemas.contract.action_catalogue import Offer, Target
from schemas.contract.action_plan import ActionPlan
from schemas.contract.action_schema import common_fields


def title(action: str, machines: int) -> str:
    """Return the translated title of an action, and on how many machines it is run, such as "Reboot: 3 machines"."""
    return _("{action}: {machines}", action=external_texts.translated(action), machines=text.machines(machines))


def name(target: Target) -> str:
    """Return the id of a machine, with its hostname if that does not say the id."""
    return target.name if cells.tells(target.hostname, target.name) else f"{target.name} ({target.hostname})"


def not_offered(offers: Sequence[Offer]) -> list[str]:
    """Return a sentence for each action that some of the machines do not allow."""
    return [
        _(
            "{action}: not allowed by {machines}",
            action=external_texts.translated(offer.title),
            machines=text.listed(offer.missing),
        )
        for offer in offers
        if offer.missing
    ]


def facts(plan: ActionPlan) -> list[tuple[str, str]]:
    """Return the arguments, the lifetime and the rollout of a plan, as labels and values."""
    found = [*_arguments(plan)]
    keep = text.period(round(plan.lifetime_seconds))
    found.append((_("Offline machines"), _("the command is kept for {time}", time=keep)))
    rollout = plan.rollout
    if rollout.canary:
        first = text.machines(rollout.canary)
        found.append((_("Canary machines"), _("{machines}, then the others if all succeed", machines=first)))
    if rollout.per_minute is not None:
        found.append((_("Rate"), _("{machines} per minute", machines=text.machines(rollout.per_minute))))
    if rollout.stop_percent < 100:
        found.append((_("Stop"), _("if failures exceed {share}", share=text.percent(rollout.stop_percent))))
    return found


def _arguments(plan: ActionPlan) -> list[tuple[str, str]]:
    described = [target.actions[plan.action].arguments_schema for target in plan.targets]
    titles = {field.name: external_texts.translated(field.title) for field in common_fields(described)}
    return [(titles.get(name, name), _shown(value)) for name, value in plan.arguments.items()]


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
