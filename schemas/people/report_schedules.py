"""Reports that are sent by mail every week or month."""

from typing import Final

from sqlalchemy import Engine, delete, insert, select

from schemas.database.queries.fetch import fetch_all
from schemas.people.destinations import Destination
from schemas.people.notification_tables import report_schedule
from schemas.people.services import MAIL_SCHEMES, DestinationError

PERIODS: Final = ("week", "month")
NOT_COMPUTED: Final = 0
"""Time of the next report, until the notifier has computed it."""


def set_report(engine: Engine, to: Destination, period: str, hour: int | None) -> None:
    """Send a report at this local hour, on Mondays or on the first of each month; None to send it no more.

    Raises DestinationError.
    """
    if period not in PERIODS or (hour is not None and not 0 <= hour <= 23):
        raise DestinationError(f"a report is sent each {' or '.join(PERIODS)} at an hour from 0 to 23")
    if to.service not in MAIL_SCHEMES:
        raise DestinationError(f"reports are sent by mail: {to.name} is {to.service}://")
    mine = (report_schedule.c.destination_id == to.id, report_schedule.c.period == period)
    row = {"destination_id": to.id, "org": to.org, "period": period, "hour": hour, "next_at": NOT_COMPUTED}
    with engine.begin() as connection:
        connection.execute(delete(report_schedule).where(*mine))
        if hour is not None:
            connection.execute(insert(report_schedule).values(row))


def list_reports(engine: Engine, org: str) -> dict[int, dict[str, int]]:
    """Return for each destination of an organisation the hour of its reports, by period."""
    found: dict[int, dict[str, int]] = {}
    for row in fetch_all(engine, select(report_schedule).where(report_schedule.c.org == org)):
        found.setdefault(row.destination_id, {})[row.period] = row.hour
    return found
