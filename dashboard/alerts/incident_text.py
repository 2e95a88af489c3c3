"""The sentence that describes an incident, for the incident page and the report. Pure."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.language import _, ngettext


def incident_sentence(row: Row[Any], now: int) -> str:
    """Return what happened and for how long."""
    details: Mapping[str, Any] = row.details or {}
    lasted = text.duration(((row.ended_at or now) - row.started_at) / 1000)
    match row.kind:
        case "mass-silence":
            named = ", ".join(str(name) for name in details.get("names", ())[:8])
            what = ngettext(
                "{machines} of {n} machine stopped reporting at the same time: {named}",
                "{machines} of {n} machines stopped reporting at the same time: {named}",
                int(details.get("of", 0)),
                machines=text.count(int(details.get("machines", 0))),
                named=named,
            )
        case "cloned-identity":
            what = _(
                "Two machines use the identity of {machine}: enrol one of them again under another id",
                machine=details.get("machine"),
            )
        case "noisy":
            what = _noisy(details)
        case "blind":
            what = _("Server lost its broker connection")
        case other:
            what = str(other)
    return f"{what} ({lasted})"


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
