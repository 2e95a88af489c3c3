"""Texts about an action, and about the plan that the user confirms. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from dashboard.i18n import external_texts, text
from dashboard.i18n.language import _, ngettext
from dashboard.i18n.text import Word
from schemas.actions.action_catalogue import Offer, Target
from schemas.actions.action_plan import ActionPlan, grouped
from schemas.contract.commands import Rollout
from schemas.fleet.machine_name import tells


def title(action: str, machines: int) -> str:
    """Return the translated title of an action, and on how many machines it is run, such as "Reboot: 3 machines"."""
    return _("{action}: {machines}", action=external_texts.translated(action), machines=text.machines(machines))


def name(target: Target) -> str:
    """Return the id of a machine, with its hostname if that does not say the id."""
    return target.name if tells(target.hostname, target.name) else f"{target.name} ({target.hostname})"


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
    if len(plan.targets) > 1:
        found.append((_("Pace"), pace(plan.rollout)))
    return found


def pace(rollout: Rollout) -> str:
    """Return the pace of a rollout, such as "2 first, then 10 per minute, stop at 20 % failures"."""
    parts = []
    if rollout.canary:
        parts.append(_("{n} first", n=text.count(rollout.canary)))
    if rollout.per_minute is not None:
        rate = text.count(rollout.per_minute)
        parts.append(_("then {n} per minute", n=rate) if parts else _("{n} per minute", n=rate))
    else:
        parts.append(_("then all others at once") if parts else _("all at once"))
    if rollout.stop_percent < 100:
        parts.append(_("stop at {share} failures", share=text.percent(rollout.stop_percent)))
    return ", ".join(parts)


def danger(plan: ActionPlan) -> str:
    """Return the warning of an action that can do damage."""
    if plan.is_disruptive:
        return ngettext(
            "This interrupts whatever {n} machine is doing, for everyone who uses it.",
            "This interrupts whatever {n} machines are doing, for everyone who uses them.",
            len(plan.targets),
        )
    machines = text.machines(len(plan.targets))
    if plan.action == "move":
        return _(
            "This takes {machines} to another server, from which only that server can bring them back.",
            machines=machines,
        )
    return _("This runs a command line on {machines}. It cannot be undone.", machines=machines)


def groups(targets: Sequence[Target]) -> list[tuple[str, list[tuple[str, Word | None]]]]:
    """Return the names of machines by label, with the presence of those that are not online."""
    return [(_group(label), [(name(each), _away(each)) for each in found]) for label, found in grouped(targets)]


def _group(label: str) -> str:
    key, _equals, value = label.partition("=")
    return f"{key}: {value}" if value else ""


def _away(target: Target) -> Word | None:
    return None if target.is_online else text.presence(target.presence)


def _arguments(plan: ActionPlan) -> list[tuple[str, str]]:
    return [(external_texts.translated(title), _shown(value)) for title, value in plan.titled_arguments]


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
