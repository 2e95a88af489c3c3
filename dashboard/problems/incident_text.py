"""The texts that describe an incident, for the problems page and the report. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked, ngettext

KINDS: Final[Mapping[str, Marked]] = {
    "mass-silence": marked("Machines stopped reporting at the same time"),
    "cloned-identity": marked("Two machines use one identity"),
    "noisy": marked("Rate limit exceeded"),
    "target-down": marked("Target down"),
    "blind": marked("Server lost its broker connection"),
}
"""The titles of the kinds of incidents."""

_NAMES_SHOWN: Final = 8


def incident_title(kind: str) -> str:
    """Return the title of a kind of incident; an unknown kind, as of a later version, is its own title."""
    return _(KINDS.get(kind, kind))


def incident_sentence(row: Row[Any], now: int) -> str:
    """Return what happened and for how long."""
    lasted = text.duration(((row.ended_at or now) - row.started_at) / 1000)
    return f"{incident_statement(row.kind, row.details or {})} ({lasted})"


def incident_statement(kind: str, details: Mapping[str, Any]) -> str:
    """Return what happened, with the machines that it concerns."""
    match kind:
        case "mass-silence":
            return ngettext(
                "{machines} of {n} machine stopped reporting at the same time: {named}",
                "{machines} of {n} machines stopped reporting at the same time: {named}",
                int(details.get("of", 0)),
                machines=text.count(int(details.get("machines", 0))),
                named=_named(details),
            )
        case "target-down":
            return ngettext(
                "{target} cannot be reached by {machines} of {n} machine that probes it: {named}",
                "{target} cannot be reached by {machines} of {n} machines that probe it: {named}",
                int(details.get("of", 0)),
                target=details.get("target"),
                machines=text.count(int(details.get("machines", 0))),
                named=_named(details),
            )
        case "cloned-identity":
            return _(
                "Two machines use the identity of {machine}: enrol one of them again under another id",
                machine=details.get("machine"),
            )
        case "noisy":
            return _noisy(details)
        case other:
            return incident_title(other)


def _named(details: Mapping[str, Any]) -> str:
    names = [str(name) for name in details.get("names", ())]
    rest = max(int(details.get("machines", 0)), len(names)) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown} {text.and_more(rest)}" if rest > 0 and shown else shown


def _noisy(details: Mapping[str, Any]) -> str:
    dropped = int(details.get("dropped", 0))
    if details.get("machine"):
        return ngettext(
            "The machine {machine} exceeds its rate limit: {n} message was dropped",
            "The machine {machine} exceeds its rate limit: {n} messages were dropped",
            dropped,
            machine=details["machine"],
        )
    return ngettext(
        "The organisation exceeds its rate limit: {n} message was dropped",
        "The organisation exceeds its rate limit: {n} messages were dropped",
        dropped,
    )
