"""Scheduled reports: when the next one is due, and the file that is sent.

Invariants:
- A report is queued in the transaction that sets the time of the next one.
- The file is made by `dashfleet report` in a process of its own, which reads the fleet's database read-only.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim
from sqlalchemy import Engine, select, update

from notifier.sending.outgoing import SendingError
from schemas.people import deliveries
from schemas.people.destinations import Destination
from schemas.people.notification_tables import report_schedule
from schemas.people.report_schedules import NOT_COMPUTED

REPORT_SECONDS_MAX: Final = 300
_SCHEDULES: Final = {"week": "0 {hour} * * 1", "month": "0 {hour} 1 * *"}


def next_report(period: str, hour: int, zone: str, now: int) -> int:
    """Return the time of the next report after `now`, in milliseconds: at the local hour, also across clock changes."""
    local = datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(zone))
    return round(next(CronSim(_SCHEDULES[period].format(hour=hour), local)).timestamp() * 1000)


def queue_due_reports(engine: Engine, destinations: Mapping[int, Destination], *, now: int) -> None:
    """Queue the reports that are due, and compute the times of the next ones."""
    due = select(report_schedule).where(report_schedule.c.next_at <= now)
    with engine.begin() as connection:
        for row in connection.execute(due).all():
            to = destinations.get(row.destination_id)
            if to is None:
                continue
            if row.next_at != NOT_COMPUTED:
                content = {"period": row.period, "until": row.next_at}
                deliveries.queue(connection, to, deliveries.REPORT, items=0, content=content, now=now)
            mine = (report_schedule.c.destination_id == to.id, report_schedule.c.period == row.period)
            next_at = next_report(row.period, row.hour, to.preferences.zone, now)
            connection.execute(update(report_schedule).where(*mine).values(next_at=next_at))


@contextmanager
def report_file(data: Path, org: str, period: str, *, language: str, until: int) -> Iterator[Path]:
    """Yield an organisation's report as an HTML file, which is removed afterwards. Raises SendingError."""
    with tempfile.TemporaryDirectory(prefix="dashfleet-report-") as directory:
        path = Path(directory, f"report-{org}.html")
        end = datetime.fromtimestamp(until / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        command = [sys.executable, "-P", "-m", "dashfleet", "report", "--data", str(data), "--org", org]
        command += ["--period", period, "--language", language, "--to", end, "--output", str(path)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=REPORT_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SendingError("the report took too long to make") from None
        if done.returncode != 0:
            raise SendingError(f"the report failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        yield path
