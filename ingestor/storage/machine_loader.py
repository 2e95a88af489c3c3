"""Reading machines with their streams from the database."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Integer, Select, Table, any_, cast, literal, select
from sqlalchemy.engine import Connection, Row

from ingestor.domain.machine import Description, Estimate, Latest, Machine, Stream
from ingestor.domain.presence import Presence, PresenceState
from ingestor.storage.row_encoding import PRESENCE_FIELDS, STREAM_FIELDS
from schemas.contract.messages import VITALS, Vitals
from schemas.database import tables
from schemas.fleet.health import Health, HealthStatus
from schemas.fleet.ranges import Ranges


def among(table: Table, ids: Iterable[int]) -> ColumnElement[bool]:
    """Match rows of these machines, with the ids as one parameter. For PostgreSQL.

    They are a text, as the driver takes longer for a list of a batch's machines than the database for finding them.
    """
    return table.c.machine_id == any_(cast(literal("{" + ",".join(map(str, ids)) + "}"), ARRAY(Integer)))


def every_machine() -> Select[Any]:
    """Return the query of all machines, to be narrowed down."""
    return select(*_MACHINE_COLUMNS).select_from(_MACHINE_JOIN)


def load(connection: Connection, query: Select[Any], ids: Collection[int] | None = None) -> list[Machine]:
    """Return the machines of such a query with their streams. `ids`: those of the machines, to read no other stream."""
    machines = {row.id: _machine(row) for row in connection.execute(query)}
    streams = select(tables.stream)
    if ids is not None:
        is_postgresql = connection.dialect.name == "postgresql"
        streams = streams.where(among(tables.stream, ids) if is_postgresql else tables.stream.c.machine_id.in_(ids))
    elif len(machines) == 1:
        streams = streams.where(tables.stream.c.machine_id == next(iter(machines)))
    for row in connection.execute(streams):
        if row.machine_id in machines:
            machines[row.machine_id].streams[row.name] = _stream(row)
    return list(machines.values())


_DESCRIPTION = ("hostname", "os", "os_version", "agent_version")
_MACHINE_JOIN = tables.machine.join(tables.org).outerjoin(tables.state)
_MACHINE_COLUMNS = (
    tables.machine.c.id,
    tables.machine.c.name,
    tables.org.c.name.label("org"),
    *(tables.machine.c[name] for name in _DESCRIPTION),
    tables.machine.c.labels,
    *(column for column in tables.state.c if column.name != "machine_id"),
)


def _machine(row: Row[Any]) -> Machine:
    machine = Machine(row.id, row.org, row.name)
    described = {name: getattr(row, name) or "" for name in _DESCRIPTION}
    machine.description = Description(**described, labels=row.labels or {})
    if row.presence is not None:
        machine.state = PresenceState(Presence(row.presence), **{name: getattr(row, name) for name in PRESENCE_FIELDS})
        vitals = Vitals.model_construct(**{name: getattr(row, name) for name in VITALS})
        health = Health(row.health_score, HealthStatus(row.health_status))
        machine.latest = Latest(row.sampled_at, vitals, row.extra or {}, health)
        machine.clock = Estimate(row.clock_offset_milliseconds)
    return machine


def _stream(row: Row[Any]) -> Stream:
    fields = {name: getattr(row, name) for name in STREAM_FIELDS}
    stored, rejected = Ranges.parse(row.stored), Ranges.parse(row.rejected)
    return Stream(**fields, stored=stored, rejected=rejected, boot=Estimate(row.booted_at))
