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
                "{machines} of {n} machine went quiet together: {named}",
                "{machines} of {n} machines went quiet together: {named}",
                int(details.get("of", 0)),
                machines=text.count(int(details.get("machines", 0))),
                named=named,
            )
        case "cloned-identity":
            what = _(
                "Two copies of the machine {machine} run: give one of them an id of its own",
                machine=details.get("machine"),
            )
        case "noisy":
            what = _noisy(details)
        case "blind":
            what = _("The server could not hear anybody: it had no connection to the broker")
        case other:
            what = str(other)
    return f"{what} ({lasted})"


def _noisy(details: Mapping[str, Any]) -> str:
    dropped = int(details.get("dropped", 0))
    if details.get("machine"):
        return ngettext(
            "The machine {machine} sends more than it may: {n} message was dropped",
            "The machine {machine} sends more than it may: {n} messages were dropped",
            dropped,
            machine=details["machine"],
        )
    return ngettext(
        "The organisation sends more than it may: {n} message was dropped",
        "The organisation sends more than it may: {n} messages were dropped",
        dropped,
    )
