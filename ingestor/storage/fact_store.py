"""Storing lists of facts, as a part of the transaction of a batch.

Invariants:
- Only items that differ are written. Storing a list again changes nothing.
- Of a machine, kind and day CHANGES_PER_KIND changes are recorded, and of a machine and day CHANGES_PER_MACHINE. One
  row `more` for each kind counts those above.
- A retired machine has no lists.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from ingestor.domain.batch import Transition
from ingestor.domain.facts import Difference, FactChange, FactHead, ReceivedFacts, StoredFact, compare
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.storage.bulk import dialect_insert
from schemas.contract.facts import RANKS
from schemas.database.tables import fact, fact_change, fact_list, machine
from schemas.fleet.history import DAY

CHANGES_PER_KIND = 100
CHANGES_PER_MACHINE = 500
KEYS_AT_ONCE = 200
MORE = "more"


def read_heads(engine: Engine, machine_id: int) -> dict[str, FactHead]:
    """Return the heads of a machine's lists by kind."""
    table = fact_list.c
    query = select(table.kind, table.session, table.stated_at, table.known_at, table.digest, table.truncated)
    with engine.connect() as connection:
        return {row[0]: FactHead(*row[1:]) for row in connection.execute(query.where(table.machine_id == machine_id))}


class FactStore:
    """Writes lists of facts."""

    def __init__(self, engine: Engine) -> None:
        self._insert: Any = dialect_insert(engine)

    def write(
        self, connection: Connection, lists: Iterable[ReceivedFacts], transitions: Sequence[Transition] = ()
    ) -> None:
        """Store lists, and delete those of the machines that these transitions retire."""
        for received in lists:
            self._write(connection, received)
        retired = {each.machine.id for each in transitions if each.after.presence is Presence.RETIRED}
        for machine_id in retired:
            for table in (fact, fact_list):
                connection.execute(delete(table).where(table.c.machine_id == machine_id))

    def _write(self, connection: Connection, received: ReceivedFacts) -> None:
        difference = compare(_stored(connection, received), received)
        self._write_head(connection, received)
        self._write_items(connection, received, difference)
        _record(connection, received.machine, received.kind, received.at, difference.changes)

    def _write_head(self, connection: Connection, received: ReceivedFacts) -> None:
        key = {"machine_id": received.machine.id, "kind": received.kind}
        if received.head is None:
            connection.execute(delete(fact_list).filter_by(**key))
            return
        statement = self._insert(fact_list).values(**key, **received.head._asdict())
        changing = {name: statement.excluded[name] for name in FactHead._fields}
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changing))

    def _write_items(self, connection: Connection, received: ReceivedFacts, difference: Difference) -> None:
        mine = (fact.c.machine_id == received.machine.id, fact.c.kind == received.kind)
        for start in range(0, len(difference.deleted), KEYS_AT_ONCE):
            keys = difference.deleted[start : start + KEYS_AT_ONCE]
            connection.execute(delete(fact).where(*mine, fact.c.key.in_(keys)))
        if not difference.written:
            return
        org = connection.scalar(select(machine.c.org_id).where(machine.c.id == received.machine.id))
        rows = [
            {
                "machine_id": received.machine.id,
                "kind": received.kind,
                "key": key,
                "org_id": org,
                "health": item.health,
                "rank": RANKS[item.health],
                "fields": item.fields,
                "since_at": since,
            }
            for key, (item, since) in difference.written.items()
        ]
        statement = self._insert(fact)
        changing = {name: statement.excluded[name] for name in ("health", "rank", "fields", "since_at")}
        statement = statement.on_conflict_do_update(index_elements=["machine_id", "kind", "key"], set_=changing)
        connection.execute(statement, rows)


def _stored(connection: Connection, received: ReceivedFacts) -> dict[str, StoredFact]:
    table = fact.c
    mine = (table.machine_id == received.machine.id, table.kind == received.kind)
    rows = connection.execute(select(table.key, table.health, table.fields, table.since_at).where(*mine))
    return {row.key: StoredFact(row.health, row.fields, row.since_at) for row in rows}


def _record(connection: Connection, of: Machine, kind: str, at: int, changes: Collection[FactChange]) -> None:
    """Record changes of one moment, and count those above the bounds."""
    if not changes:
        return
    table, day = fact_change.c, at // DAY * DAY
    today = (table.machine_id == of.id, table.at >= day, table.at < day + DAY)
    numbers = select(table.kind, func.count()).where(*today, table.change != MORE).group_by(table.kind)
    recorded = {row[0]: row[1] for row in connection.execute(numbers)}
    room = min(CHANGES_PER_KIND - recorded.get(kind, 0), CHANGES_PER_MACHINE - sum(recorded.values()))
    key = {"machine_id": of.id, "kind": kind}
    some = sorted(changes, key=lambda each: (RANKS[each.health_after], each.key))[: max(0, room)]
    if some:
        connection.execute(insert(fact_change), [{**key, "at": at, **each._asdict()} for each in some])
    if above := len(changes) - len(some):
        counted = update(fact_change).where(*today, table.kind == kind, table.change == MORE)
        if not connection.execute(counted.values(at=at, times=table.times + above)).rowcount:
            row = {**key, "at": at, "key": "", "change": MORE, "before": {}, "after": {}, "times": above}
            connection.execute(insert(fact_change).values(row))
