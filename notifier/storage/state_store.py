"""Storage of the planner's state: problems, and what was told about them to whom.

Invariants:
- What a step decides is one transaction: the problems that changed, the marks, and the deliveries they are in. A
  process that is killed before it has decided nothing; one that is killed after it sends what is in the queue.
- A mark is kept for KEPT_MILLISECONDS after the end of its problem, longer than any broker retains it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Engine, Table, delete, exists, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from notifier.domain.matching import Recipient
from notifier.domain.planner import Known, Notice, NoticeItem
from notifier.domain.problem import NoticeKind, Problem
from schemas.people import deliveries
from schemas.people.destinations import Destination
from schemas.people.notification_tables import known_problem, told

KEPT_MILLISECONDS: Final = 7 * 86_400_000


def read_known(engine: Engine) -> list[Known]:
    """Return all problems and what was told about them."""
    found: dict[tuple[str, str], Known] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(known_problem)):
            found[row.org, row.key] = Known(_problem(row.problem), row.first_seen_at)
        for row in connection.execute(select(told)):
            known = found.get((row.org, row.key))
            if known is not None:
                known.told.setdefault(row.destination_id, {})[NoticeKind(row.kind)] = row.at
    return list(found.values())


def commit(
    engine: Engine,
    changed: Sequence[Known],
    notices: Sequence[Notice],
    destinations: Mapping[int, Destination],
    *,
    now: int,
) -> list[int]:
    """Store the decisions of a step in one transaction; return the ids of the destinations with a new delivery."""
    if not changed and not notices:
        return []
    queued = []
    with engine.begin() as connection:
        _write(connection, known_problem, map(_known_row, changed))
        for known in changed:
            _forget(connection, known)
        _write(connection, told, [row for notice in notices for row in _told_rows(notice, now)])
        for notice in notices:
            to = destinations.get(notice.recipient.id)
            if notice.told and to is not None:
                content = encode_items(notice.told)
                deliveries.queue(connection, to, deliveries.ALERTS, items=len(notice.told), content=content, now=now)
                queued.append(to.id)
    for known in changed:
        known.forgotten.clear()
    return queued


def prune(engine: Engine, *, now: int) -> None:
    """Delete problems that ended long ago, and their marks."""
    with engine.begin() as connection:
        connection.execute(delete(known_problem).where(known_problem.c.ended_at < now - KEPT_MILLISECONDS))
        same = (known_problem.c.org == told.c.org, known_problem.c.key == told.c.key)
        connection.execute(delete(told).where(~exists().where(*same)))


def recipient_of(destination: Destination) -> Recipient:
    """Return a destination as the decisions see it."""
    return Recipient(
        destination.id, destination.org, destination.routed_at, destination.preferences, destination.routes
    )


def encode_items(items: Iterable[NoticeItem]) -> dict[str, Any]:
    """Return the items of a message as JSON."""
    return {"items": [{"kind": item.kind.value, "problem": asdict(item.problem)} for item in items]}


def decode_items(content: Mapping[str, Any]) -> list[NoticeItem]:
    """Return the items of a message that `encode_items` made."""
    return [NoticeItem(NoticeKind(each["kind"]), _problem(each["problem"])) for each in content.get("items", ())]


def _problem(values: Mapping[str, Any]) -> Problem:
    return Problem(**{**values, "machines": tuple(values["machines"])})


def _known_row(known: Known) -> dict[str, Any]:
    problem = known.problem
    return {
        "org": problem.org,
        "key": problem.key,
        "problem": asdict(problem),
        "first_seen_at": known.first_seen_at,
        "ended_at": None if problem.until is None else max(problem.until, known.first_seen_at),
    }


def _forget(connection: Connection, known: Known) -> None:
    """Delete the marks of a problem that was over, and goes on."""
    if known.forgotten:
        same = (told.c.org == known.problem.org, told.c.key == known.problem.key)
        connection.execute(delete(told).where(*same, told.c.destination_id.in_(known.forgotten)))


def _told_rows(notice: Notice, now: int) -> list[dict[str, Any]]:
    return [
        {
            "org": item.problem.org,
            "key": item.problem.key,
            "destination_id": notice.recipient.id,
            "kind": item.kind.value,
            "at": now,
        }
        for item in notice.items
    ]


def _write(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows, or replace those with the same key."""
    values = list(rows)
    if not values:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = list(table.primary_key.columns)
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if column not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced), values)
