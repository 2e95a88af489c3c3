"""Reading machines from the database, as the ingestor knows them in memory."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Integer, Select, Table, any_, literal, select
from sqlalchemy.engine import Connection, Row

from ingestor.domain.machine import Estimate, Latest, Machine, Stream
from ingestor.domain.presence import Presence, PresenceState
from schemas.contract.messages import VITALS, Vitals
from schemas.database import tables
from schemas.fleet.health import Health, HealthStatus
from schemas.fleet.ranges import Ranges


def among(table: Table, ids: Iterable[int]) -> ColumnElement[bool]:
    """Whether a row is about one of these machines: as one value, however many there are. For PostgreSQL."""
    return table.c.machine_id == any_(literal(list(ids), ARRAY(Integer)))


def every_machine() -> Select[Any]:
    """The query for machines, to be narrowed down."""
    return select(*_MACHINE_COLUMNS).select_from(_MACHINE_JOIN)


def load(connection: Connection, query: Select[Any], ids: Collection[int] | None = None) -> list[Machine]:
    """The machines of such a query, with their streams. `ids`: on PostgreSQL, whom it is about, if not about all."""
    machines = {row.id: _machine(row) for row in connection.execute(query)}
    streams = select(tables.stream)
    if ids is not None:
        streams = streams.where(among(tables.stream, ids))
    elif len(machines) == 1:
        streams = streams.where(tables.stream.c.machine_id == next(iter(machines)))
    for row in connection.execute(streams):
        if row.machine_id in machines:
            machines[row.machine_id].streams[row.name] = _stream(row)
    return list(machines.values())


_MACHINE_JOIN = tables.machine.join(tables.org).outerjoin(tables.state)
_MACHINE_COLUMNS = (
    tables.machine.c.id,
    tables.machine.c.name,
    tables.org.c.name.label("org"),
    *(column for column in tables.state.c if column.name != "machine_id"),
)


def _machine(row: Row[Any]) -> Machine:
    machine = Machine(row.id, row.org, row.name)
    if row.presence is not None:
        machine.state = PresenceState(
            presence=Presence(row.presence),
            reason=row.reason,
            since_at=row.since_at,
            verified=row.verified,
            connected=row.connected,
            session=row.session,
            interval_seconds=row.interval_seconds,
            last_seen_at=row.last_seen_at,
        )
        vitals = Vitals.model_construct(**{name: getattr(row, name) for name in VITALS})
        judged = Health(row.health_score, HealthStatus(row.health_status))
        machine.latest = Latest(row.sampled_at, vitals, row.extra or {}, judged)
        machine.clock = Estimate(row.clock_offset_milliseconds)
    return machine


def _stream(row: Row[Any]) -> Stream:
    return Stream(
        name=row.name,
        number=row.number,
        created_at=row.created_at,
        highest_seq=row.highest_seq,
        oldest_seq=row.oldest_seq,
        dropped=row.dropped,
        late=row.late,
        duplicate=row.duplicate,
        stored=Ranges.parse(row.stored),
        boot=Estimate(row.booted_at),
    )
