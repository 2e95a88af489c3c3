"""From words on a command line to signed orders: which machines, whether they allow it, and whether it is meant."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.contract.action_catalogue import Target

_NAMED_MAX = 8


@dataclass(frozen=True, slots=True)
class Wish:
    """What was written: `dashfleet act ACTION [MACHINE]… [NAME=VALUE]…` and what narrows it."""

    action: str
    machines: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    everybody: bool = False

    @property
    def named(self) -> bool:
        """Whether each machine was named; otherwise they were described, and those that do not fit are left out."""
        return bool(self.machines)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be asked of whom. `left_out` are machines that were described but do not allow it."""

    action: str
    title: str
    arguments: Mapping[str, Any]
    targets: "tuple[Target, ...]"
    left_out: tuple[str, ...]

    def plain(self) -> list[dict[str, Any]]:
        """The form that `dashfleet act --dry-run --json` documents."""
        what = {"action": self.action, "arguments": dict(self.arguments)}
        return [{"machine": target.name, "presence": target.presence, **what} for target in self.targets]


def wish(words: Sequence[str], labels: Sequence[str], status: str | None, *, everybody: bool) -> Wish:
    """Read the words. The first is the action; words with `=` are its arguments; the others are machines."""
    action, *rest = words
    if "=" in action:
        raise UserError(f"say first which action: dashfleet act ACTION MACHINE {action}")
    machines = tuple(dict.fromkeys(word for word in rest if "=" not in word))
    described = bool(labels or status or everybody)
    if machines and described:
        raise UserError("name machines, or describe them with --label, --status or --all, but not both")
    if not machines and not described:
        raise UserError(f"on which machines? Name them (dashfleet act {action} MACHINE), or use --label or --all")
    given = _pairs((word for word in rest if "=" in word), "argument")
    return Wish(action, machines, given, _pairs(labels, "--label"), status, everybody)


def plan(engine: "Engine", org: str, wanted: Wish) -> Plan:
    """Find the machines and check that they allow it, with these arguments. Raises UserError."""
    from schemas.contract.action_catalogue import list_offers
    from schemas.contract.action_schema import ArgumentError, common_fields, find_fault, parse_arguments
    from schemas.database.queries.settings import has_org
    from schemas.database.queries.targets import find_targets

    if not has_org(engine, org):
        raise UserError(f"there is no organisation {org}")
    names = wanted.machines or None
    found = [*find_targets(engine, org, names=names, labels=wanted.labels, presence=wanted.status).values()]
    _require_found(found, org, wanted)
    known = list_offers(found)
    offer = next((offer for offer in known if offer.name == wanted.action), None)
    if offer is None or (offer.missing and wanted.named):
        raise UserError(_not_allowed(wanted.action, found, sorted(each.name for each in known if not each.missing)))
    targets = tuple(target for target in found if wanted.action in target.actions)
    try:
        arguments = parse_arguments(common_fields(offer.schemas), wanted.arguments)
    except ArgumentError as error:
        raise UserError(f"{wanted.action}: {error}") from None
    for target in targets:
        wrong = find_fault(target.actions[wanted.action].arguments_schema, arguments)
        if wrong:
            raise UserError(f"{wanted.action} on {target.name}: {wrong}")
    return Plan(wanted.action, offer.title, arguments, targets, offer.missing)


def require_meant(chosen: Plan, ask: Callable[[str], bool] | None) -> None:
    """Ask before many machines, or before what ends their work. `ask` is None where nobody can answer."""
    from schemas.contract.action_catalogue import DISRUPTIVE

    if len(chosen.targets) == 1 and chosen.action not in DISRUPTIVE:
        return
    names = named([target.name for target in chosen.targets])
    if ask is None:
        raise UserError(f"{chosen.action} on {names} needs a yes, and nobody can be asked here: add --yes")
    if not ask(f"{chosen.action} on {names}: go on?"):
        raise UserError("nothing was sent")


def named(names: Sequence[str]) -> str:
    """Names as part of a sentence, the first few of many."""
    shown = ", ".join(names[:_NAMED_MAX])
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{len(names)} machines ({shown}{more})" if len(names) > 1 else shown


def strangers(chosen: Plan, key: str) -> list[str]:
    """Those machines that have said which keys they obey, and this is none of them."""
    return [target.name for target in chosen.targets if target.keys and key not in target.keys]


def _require_found(found: "Sequence[Target]", org: str, wanted: Wish) -> None:
    unknown = [name for name in wanted.machines if name not in {target.name for target in found}]
    if unknown and wanted.status is None:
        raise UserError(f"{org} has no machine {', '.join(unknown)}: dashfleet machines lists them")
    if not found:
        raise UserError("no machine is like that: dashfleet machines lists them")


def _not_allowed(action: str, found: "Sequence[Target]", by_all: Sequence[str]) -> str:
    without = [target.name for target in found if action not in target.actions]
    allowed = f"what all of them allow: {', '.join(by_all)}" if by_all else "there is nothing that all of them allow"
    return f"{named(without)} {'do' if len(without) > 1 else 'does'} not allow {action}; {allowed}"


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
