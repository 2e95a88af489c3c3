"""From the words of `dashfleet act` to a plan.

The action is the first word, because its name can also be a machine id, and a `=` marks an argument; so machines and
arguments can follow in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.act.confirmation import shortened
from cli.settings import require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.actions.action_catalogue import Target
    from schemas.actions.action_plan import ActionPlan
    from schemas.contract.commands import Rollout

_CONTENT_MAX = 1 << 20
"""Characters that are read of a file; a machine accepts far fewer."""


@dataclass(frozen=True, slots=True)
class ActWords:
    """Parsed words and filters. Machines are either named, or selected by filters; then some may be left out."""

    action: str
    machines: tuple[str, ...]
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    status: str | None

    @classmethod
    def parse(
        cls,
        words: Sequence[str],
        labels: Sequence[str],
        status: str | None,
        *,
        all_machines: bool,
        files: Sequence[str] = (),
    ) -> "ActWords":
        """Parse words: the first is the action, those with `=` are arguments, others are machines. Raises UserError.

        `files` are NAME=FILE: arguments whose values are the content of files.
        """
        action, *rest = words
        if "=" in action:
            raise UserError(f"the action must come first: dashfleet act ACTION MACHINE {action}")
        machines = tuple(dict.fromkeys(word for word in rest if "=" not in word))
        filtered = bool(labels or status or all_machines)
        if machines and filtered:
            raise UserError("name machines or select them with --label, --status or --all, but not both")
        if not machines and not filtered:
            raise UserError(f"no machines given: name them (dashfleet act {action} MACHINE), or use --label or --all")
        arguments = _pairs((word for word in rest if "=" in word), "argument")
        for name, path in _pairs(files, "--file").items():
            if name in arguments:
                raise UserError(f"argument {name} is given twice")
            arguments[name] = _content(Path(path))
        return cls(action, machines, arguments, _pairs(labels, "--label"), status)


def _content(file: Path) -> str:
    """Return the text of a file, without the end of its last line. Raises UserError."""
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_CONTENT_MAX).removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is not text'}") from None


def plan_action(
    engine: "Engine", org: str, words: ActWords, *, lifetime_seconds: float, rollout: "Rollout | None"
) -> "ActionPlan":
    """Select the machines and check that they allow the action with these arguments; None: the default rollout.

    Raises UserError.
    """
    from schemas.actions.action_catalogue import list_offers
    from schemas.actions.action_plan import ActionPlan
    from schemas.actions.action_schema import ArgumentError, common_fields, parse_arguments
    from schemas.database.queries.targets import find_targets

    require_org(engine, org)
    names = words.machines or None
    found = [*find_targets(engine, org, names=names, labels=words.labels, presence=words.status).values()]
    _require_found(found, org, words)
    known = list_offers(found)
    offer = next((offer for offer in known if offer.name == words.action), None)
    if offer is None or (offer.missing and words.machines):
        raise UserError(_not_allowed(words.action, found, sorted(each.name for each in known if not each.missing)))
    try:
        arguments = parse_arguments(common_fields(offer.schemas), words.arguments)
        return ActionPlan.of(found, offer, arguments, lifetime_seconds=lifetime_seconds, rollout=rollout)
    except ArgumentError as error:
        where = f" on {error.machine}" if error.machine else ""
        raise UserError(f"{words.action}{where}: {error}") from None


def _require_found(found: "Sequence[Target]", org: str, words: ActWords) -> None:
    from schemas.contract.topics import is_id

    unknown = [name for name in words.machines if name not in {target.name for target in found}]
    if unknown:
        are_ids = all(is_id(name) for name in unknown)
        advice = "dashfleet machines lists them" if are_ids else "an argument is written NAME=VALUE"
        raise UserError(f"{org} has no machine {', '.join(unknown)}: {advice}")
    if not found:
        raise UserError("no machine matches: dashfleet machines lists them")


def _not_allowed(action: str, found: "Sequence[Target]", by_all: Sequence[str]) -> str:
    without = [target.name for target in found if action not in target.actions]
    allowed = f"allowed by all of them: {', '.join(by_all)}" if by_all else "no action is allowed by all of them"
    return f"{shortened(without)} {'do' if len(without) > 1 else 'does'} not allow {action}; {allowed}"


def _pairs(words: Iterable[str], what: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UserError(f"{what} {word!r} must look like name=value")
        if name in pairs:
            raise UserError(f"{what} {name} is given twice")
        pairs[name] = value
    return pairs
