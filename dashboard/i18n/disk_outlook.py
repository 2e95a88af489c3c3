"""Forecasts of disks in words."""

from dashboard.i18n import text
from dashboard.i18n.language import _
from schemas.fleet.forecast import DAY, Outlook


def full_in(full_at: int | None, outlook: str | None, now: int) -> str:
    """Return when a disk will be full according to its forecast; a dash if it has no trend."""
    if full_at is not None:
        days = round(max(0, full_at - now) / DAY)
        return _("in {length}", length=text.duration(days * DAY / 1000)) if days else _("today")
    return _("over a year") if outlook == Outlook.SLOW else text.UNKNOWN
