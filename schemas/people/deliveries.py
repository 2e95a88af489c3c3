"""The log of deliveries, which is also the queue of the notifier: time, destination, attempts, answer, error.

Invariants:
- A delivery is queued in the transaction that marks its alerts as told, so none is lost or told twice by a restart.
- The log is bounded: by age and by number per organisation. Only deliveries that ended are pruned.
- Text from a service is bounded and storable; it never contains the URL's secrets (`notifier.sending`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, delete, insert, select, update
from sqlalchemy.engine import Connection

from schemas.database.engine import storable
from schemas.database.queries.fetch import fetch_all
from schemas.people.destinations import Destination
from schemas.people.notification_tables import delivery

KEPT_MILLISECONDS: Final = 30 * 86_400_000
KEPT_PER_ORG: Final = 5_000
TEXT_MAX: Final = 500
TITLE_MAX: Final = 200
TESTS_WAITING_MAX: Final = 5

QUEUED, SENT, FAILED, CANCELLED = "queued", "sent", "failed", "cancelled"
STATES: Final = (QUEUED, SENT, FAILED, CANCELLED)
ALERTS, TEST, REPORT = "alerts", "test", "report"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a destination, waiting or ended. Times are milliseconds."""

    id: int
    org: str
    destination_id: int | None
    destination: str
    owner: str
    kind: str
    state: str
    created_at: int
    attempts: int
    next_at: int
    finished_at: int | None
    items: int
    title: str
    content: Mapping[str, Any] | None
    answer: str
    error: str

    @classmethod
    def of(cls, row: Row[Any]) -> "Delivery":
        """Build from a row of the table."""
        return cls(**row._asdict())


def queue(
    connection: Connection, to: Destination, kind: str, *, items: int, content: Mapping[str, Any], now: int
) -> int:
    """Add a delivery to the queue and return its id."""
    row = {
        "org": to.org,
        "destination_id": to.id,
        "destination": to.name,
        "owner": to.owner,
        "kind": kind,
        "state": QUEUED,
        "created_at": now,
        "attempts": 0,
        "next_at": now,
        "items": items,
        "title": "",
        "content": dict(content),
        "answer": "",
        "error": "",
    }
    return int(connection.execute(insert(delivery).values(row).returning(delivery.c.id)).scalar_one())


def queue_test(engine: Engine, to: Destination, *, by: str, now: int) -> int | None:
    """Queue a test message and return the delivery's id; None if too many tests of the organisation wait."""
    waiting = select(delivery.c.id).where(delivery.c.org == to.org, delivery.c.kind == TEST, delivery.c.state == QUEUED)
    with engine.begin() as connection:
        if len(connection.execute(waiting.limit(TESTS_WAITING_MAX)).all()) == TESTS_WAITING_MAX:
            return None
        return queue(connection, to, TEST, items=0, content={"by": by[:64]}, now=now)


def record_test(engine: Engine, to: Destination, *, error: str, answer: str, title: str, now: int) -> None:
    """Record a test message that was sent outside of the queue; `error` is empty if it was accepted."""
    with engine.begin() as connection:
        id_ = queue(connection, to, TEST, items=0, content={}, now=now)
        ended = {"state": FAILED if error else SENT, "finished_at": now, "content": None, "attempts": 1}
        said = {"title": bounded(title, TITLE_MAX), "answer": bounded(answer), "error": bounded(error)}
        connection.execute(update(delivery).where(delivery.c.id == id_).values({**ended, **said}))


def find_delivery(engine: Engine, org: str, id_: int) -> Delivery | None:
    """Return a delivery of an organisation, or None."""
    found = fetch_all(engine, select(delivery).where(delivery.c.org == org, delivery.c.id == id_))
    return Delivery.of(found[0]) if found else None


def list_deliveries(engine: Engine, org: str | None, *, owner: str | None = None, limit: int = 100) -> list[Delivery]:
    """Return the newest deliveries first; None for those of all organisations or owners."""
    query = select(delivery)
    if org is not None:
        query = query.where(delivery.c.org == org)
    if owner is not None:
        query = query.where(delivery.c.owner == owner)
    newest_first = query.order_by(delivery.c.created_at.desc(), delivery.c.id.desc())
    return [Delivery.of(row) for row in fetch_all(engine, newest_first.limit(limit))]


def waiting_destinations(engine: Engine) -> dict[int, int]:
    """Return for each destination with a delivery in the queue the earliest time of its next attempt."""
    query = select(delivery.c.destination_id, delivery.c.next_at).where(delivery.c.state == QUEUED)
    found: dict[int, int] = {}
    for row in fetch_all(engine, query):
        found[row.destination_id] = min(row.next_at, found.get(row.destination_id, row.next_at))
    return found


def next_delivery(engine: Engine, destination_id: int, *, now: int) -> Delivery | None:
    """Return the oldest delivery to a destination that is due, a test first; None if none is."""
    due = (delivery.c.destination_id == destination_id, delivery.c.state == QUEUED, delivery.c.next_at <= now)
    found = fetch_all(engine, select(delivery).where(*due).order_by(delivery.c.kind != TEST, delivery.c.id).limit(1))
    return Delivery.of(found[0]) if found else None


def finish(engine: Engine, id_: int, state: str, *, now: int, **texts: str) -> None:
    """Record the end of a delivery. `texts`: title, answer and error."""
    ended = {"state": state, "finished_at": now, "content": None}
    _record(engine, id_, ended, texts)


def retry_later(engine: Engine, id_: int, at: int, **texts: str) -> None:
    """Record a failed attempt, and the time of the next one."""
    _record(engine, id_, {"next_at": at}, texts)


def prune(engine: Engine, *, now: int) -> None:
    """Delete the deliveries that ended and are beyond the bounds of the log."""
    ended = delivery.c.state != QUEUED
    with engine.begin() as connection:
        connection.execute(delete(delivery).where(ended, delivery.c.created_at < now - KEPT_MILLISECONDS))
        for org in connection.execute(select(delivery.c.org).distinct()).scalars().all():
            mine = select(delivery.c.id).where(delivery.c.org == org).order_by(delivery.c.id.desc())
            oldest = connection.execute(mine.offset(KEPT_PER_ORG).limit(1)).scalar()
            if oldest is not None:
                connection.execute(delete(delivery).where(ended, delivery.c.org == org, delivery.c.id <= oldest))


def bounded(text: str, length: int = TEXT_MAX) -> str:
    """Return text from elsewhere as it can be stored: printable, on one line, at most `length` characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * length]).split())
    return storable(line)[:length]


def _record(engine: Engine, id_: int, values: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    shown = {name: bounded(text, TITLE_MAX if name == "title" else TEXT_MAX) for name, text in texts.items()}
    with engine.begin() as connection:
        changed = {**values, **shown, "attempts": delivery.c.attempts + 1}
        connection.execute(update(delivery).where(delivery.c.id == id_, delivery.c.state == QUEUED).values(changed))
