"""The confirmation of `dashfleet act`: the plan in words, and the question. Texts from machines are neutralised."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cli.output import note
from runtime.errors import UserError
from runtime.terminal import printable

if TYPE_CHECKING:
    from schemas.actions.action_catalogue import Target
    from schemas.actions.action_plan import ActionPlan
    from schemas.contract.commands import Rollout

_NAMED_MAX = 8
_SHOWN_MAX = 30
_VALUE_MAX = 500
"""Characters of an argument: the beginning of a destination of `move` names the server."""

_YES = ("y", "yes")


def confirm(plan: "ActionPlan", ask: Callable[[str], str] | None) -> None:
    """Show the plan and ask for confirmation if it has several machines or is disruptive.

    Raises UserError unless it is confirmed. `ask` returns the answer to a question; None: nobody can be asked.
    """
    if len(plan.targets) == 1 and not plan.is_typed:
        return
    if ask is None:
        what = f"{plan.action} on {shortened(plan.names)}"
        raise UserError(f"{what} needs confirmation, and standard input is not a terminal: add --yes")
    for line in describe(plan):
        note(line)
    if plan.is_typed:
        confirmed = ask(f"Type {plan.confirmation} to confirm").strip() == plan.confirmation
    else:
        confirmed = ask("Continue? [y/N]").strip().lower() in _YES
    if not confirmed:
        raise UserError("nothing was sent")


def describe(plan: "ActionPlan") -> list[str]:
    """Return a plan as lines: the action, its arguments, the machines by label with their presence, and the pace."""
    from schemas.actions.action_plan import grouped

    warning = "WARNING: " if plan.is_dangerous else ""
    machines = "1 machine" if len(plan.targets) == 1 else f"{len(plan.targets)} machines"
    lines = [f"{warning}{plan.title} on {machines}"]
    lines += [f"  {title}: {_shown(value)}" for title, value in plan.titled_arguments]
    left = _SHOWN_MAX
    for label, targets in grouped(plan.targets):
        names = [_marked(target) for target in targets[:left]]
        left -= len(names)
        names += [f"and {len(targets) - len(names)} more"] if len(targets) > len(names) else []
        lines.append(f"  {label + ': ' if label else ''}{', '.join(names)}")
    if len(plan.targets) > 1:
        lines.append(f"  Pace: {pace(plan.rollout)}")
    return [printable(line) for line in lines]


def pace(rollout: "Rollout") -> str:
    """Return the pace of a rollout, such as "2 first, then 10 per minute, stop at 20 % failures"."""
    parts = [f"{rollout.canary} first"] if rollout.canary else []
    then = "then " if parts else ""
    rate = "all others at once" if parts else "all at once"
    parts.append(then + (rate if rollout.per_minute is None else f"{rollout.per_minute} per minute"))
    if rollout.stop_percent < 100:
        parts.append(f"stop at {rollout.stop_percent:g} % failures")
    return ", ".join(parts)


def shortened(names: Sequence[str]) -> str:
    """Return names for a sentence, shortened to the first few."""
    shown = ", ".join(names[:_NAMED_MAX])
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{len(names)} machines ({shown}{more})" if len(names) > 1 else shown


def _marked(target: "Target") -> str:
    return target.name if target.is_online else f"{target.name} ({target.presence})"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_MAX else f"{text[:_VALUE_MAX]}…"
