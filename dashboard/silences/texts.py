"""Texts that describe silences and acknowledgements. Pure."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import Marked, _, marked, pgettext
from dashboard.i18n.text import Word
from schemas.contract.alerts import Weekly
from schemas.contract.machine_selector import MachineSelector
from schemas.fleet.silences import Silence, SilenceState

DAYS: Final[Mapping[str, Marked]] = {
    "mon": marked("Mon"),
    "tue": marked("Tue"),
    "wed": marked("Wed"),
    "thu": marked("Thu"),
    "fri": marked("Fri"),
    "sat": marked("Sat"),
    "sun": marked("Sun"),
}


def attention(alert: Any, now: int, zone: tzinfo) -> Word | None:  # noqa: ANN401 - a row of an alert, or a problem
    """Return that an active alert is acknowledged or silenced; None if it is neither."""
    if alert.ended_at is not None:
        return None
    if alert.acknowledged_at is not None:
        return Word(_("Acknowledged by {who}", who=alert.acknowledged_by or text.UNKNOWN), "plain")
    if alert.silenced_until is not None:
        return Word(_("Silenced until {at}", at=text.short_moment(alert.silenced_until, now, zone)), "plain")
    return None


def attention_reason(alert: Any) -> str:  # noqa: ANN401 - as above
    """Return the comment of the acknowledgement, or else the reason of the silence; empty if there is none."""
    if alert.acknowledged_at is not None:
        return str(alert.acknowledged_comment or "")
    return str(alert.silence_reason or "") if alert.silenced_until is not None else ""


def state(code: SilenceState) -> Word:
    """Return the state of a silence."""
    return {
        SilenceState.ACTIVE: Word(pgettext("silence", "Active"), "fair"),
        SilenceState.PLANNED: Word(pgettext("silence", "Planned"), "plain"),
        SilenceState.PAST: Word(pgettext("silence", "Past"), "muted"),
    }[code]


def machines(selector: MachineSelector) -> str:
    """Return which machines a silence is about."""
    return selector.described() or _("All machines")


def rule(name: str, titles: Mapping[str, str]) -> str:
    """Return the title of the rule that a silence is about, of all if `name` is empty."""
    return translated_details(titles.get(name, name)) if name else _("Any rule")


def when(silence: Silence, now: int, zone: tzinfo) -> str:
    """Return when a silence applies: once, or its weekly schedule."""
    if silence.weekly is not None:
        return schedule(silence.weekly)
    until = silence.ended_at if silence.ended_at is not None else silence.ends_at or silence.starts_at
    start, end = (text.short_moment(at, now, zone) for at in (silence.starts_at, max(until, silence.starts_at)))
    return f"{start} – {end}"


def schedule(weekly: Weekly) -> str:
    """Return a weekly schedule: its days, its times, and its time zone."""
    days = _("Daily") if len(weekly.days) == len(DAYS) else ", ".join(_(DAYS[day]) for day in weekly.days)
    return f"{days} {weekly.start}–{weekly.end} {weekly.zone}"
