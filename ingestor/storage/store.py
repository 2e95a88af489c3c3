"""All SQL of the ingestor.

Invariants:
- `write` is one transaction. Every statement in it may be repeated or come in another order without harm.
- What a batch writes of a machine was held before it was read (`ingestor.storage.row_locks`).
- What the database refuses for good (a machine that was removed meanwhile) raises IntegrityError or DataError; that it
  is away raises another DBAPIError.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from ingestor.admin.enrolment import enrol
from ingestor.admin.requests import administer
from ingestor.alerts.engine import Alert
from ingestor.cluster.leases import Leases
from ingestor.domain.command_changes import RequestRecord
from ingestor.domain.incidents import Incident, Kind
from ingestor.domain.machine import Machine
from ingestor.history.retention import Pruning
from ingestor.history.rollup import Rollup
from ingestor.intake.message_handlers import PAYLOAD_KEPT_BYTES, Batch
from ingestor.storage.alert_store import read_alerts, write_alerts
from ingestor.storage.bulk import bulk
from ingestor.storage.command_store import CommandStore, write_changes
from ingestor.storage.machine_loader import every_machine, load
from ingestor.storage.row_encoding import (
    SAMPLE_COLUMNS,
    STATE_COLUMNS,
    STREAM_COLUMNS,
    sample_rows,
    state_rows,
    stream_rows,
)
from ingestor.storage.row_locks import Holding
from schemas.contract.administration import Administration
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest
from schemas.contract.messages import KEY_CHANGES_MAX, OrgConfig, Signed
from schemas.database import tables
from schemas.database.engine import storable

_DEAD_LETTERS_PRUNED_EACH = 100

log = logging.getLogger(__name__)


class Store:
    """The fleet's database, for one ingestor called `name`."""

    def __init__(self, engine: Engine, *, name: str, dead_letter_max: int) -> None:
        self.commands = CommandStore(engine)
        self._rollup = Rollup(engine, self._begin)
        self._pruning = Pruning(engine, self._begin)
        self._leases: Leases | None = None
        self.holding = Holding(engine, fence=self._fence)
        self._engine = engine
        self._name = name
        self._dead_letter_max = dead_letter_max
        self._dead_letters_since_pruning = 0
        self._unreadable: set[str] = set()
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._insert: Any = dialect.insert
        self._samples = bulk(engine, tables.sample, SAMPLE_COLUMNS, overwrite=False)
        self._states = bulk(engine, tables.state, STATE_COLUMNS, overwrite=True)
        self._streams = bulk(engine, tables.stream, STREAM_COLUMNS, overwrite=True)

    def leases(self, *, monotonic: Callable[[], float]) -> Leases:
        """What this ingestor holds; from now on it writes only while it is the rightful one."""
        self._leases = Leases(self._engine, name=self._name, monotonic=monotonic)
        return self._leases

    def share_work(self, *, timers: bool) -> None:
        """Whether this ingestor is the one that rolls up and prunes (`tend`)."""
        self._rollup.alone = timers
        self._rollup.forget()

    def _fence(self, connection: Connection) -> None:
        if self._leases is not None:
            self._leases.fence(connection)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            self._fence(connection)
            yield connection

    def machines(self) -> list[Machine]:
        """The whole fleet, with its ledgers."""
        with self._engine.connect() as connection:
            return load(connection, every_machine())

    def machine(self, org: str, name: str) -> Machine | None:
        """One machine, if there is one of this name."""
        query = every_machine().where(tables.org.c.name == org, tables.machine.c.name == name)
        with self._engine.connect() as connection:
            found = load(connection, query)
        if found:
            self._rollup.forget()  # its row may have the number of one that was removed
        return found[0] if found else None

    def configs(self) -> dict[str, tuple[OrgConfig, int]]:
        """Each org's configuration and number of machines, by its name; the defaults for one that cannot be read."""
        count = select(func.count()).where(tables.machine.c.org_id == tables.org.c.id).scalar_subquery()
        query = select(tables.org.c.id, tables.org.c.name, tables.org.c.config, count.label("machines"))
        with self._engine.connect() as connection:
            changes = _key_changes(connection)
            return {
                row.name: (
                    self._read_config(row.name, row.config).model_copy(
                        update={"key_changes": tuple(changes.get(row.id, ())[:KEY_CHANGES_MAX])}
                    ),
                    row.machines,
                )
                for row in connection.execute(query)
            }

    def _read_config(self, org: str, config: object) -> OrgConfig:
        try:
            read = OrgConfig.model_validate(config)
        except ValidationError as error:
            if org not in self._unreadable:
                log.error("the configuration of %s is wrong, the defaults hold: %s", org, error.errors()[0]["msg"])
            self._unreadable.add(org)
            return OrgConfig()
        self._unreadable.discard(org)
        return read

    def open_incidents(self) -> list[Incident]:
        """The incidents that have not ended."""
        table = tables.incident
        query = select(table, tables.org.c.name.label("org")).select_from(table.outerjoin(tables.org))
        with self._engine.connect() as connection:
            return [
                Incident(Kind(row.kind), row.org or "", row.started_at, row.details, id=row.id)
                for row in connection.execute(query.where(table.c.ended_at.is_(None)))
            ]

    def alerts(self) -> tuple[list[Alert], list[Alert]]:
        """See `ingestor.storage.alert_store`."""
        return read_alerts(self._engine)

    def revoked_machines(self) -> frozenset[tuple[str, str]]:
        """The machines, by organisation and id, whose credential was revoked; those of removed organisations, too."""
        table = tables.principal
        revoked = select(table.c.org, table.c.name).where(table.c.revoked_at.is_not(None), table.c.role == "machine")
        with self._engine.connect() as connection:
            return frozenset((row.org, row.name) for row in connection.execute(revoked))

    def enrol(self, org: str, token: str, request: EnrolRequest, now: int) -> EnrolAnswer | None:
        """Give a machine its place; see `ingestor.admin.enrolment`."""
        return enrol(self._engine, org, token, request, now)

    def administer(self, record: RequestRecord, level: str, change: Administration) -> RequestRecord | None:
        """Change an organisation; see `ingestor.admin.requests`."""
        return administer(self._engine, record, level, change)

    def write(self, batch: Batch, heartbeat: Mapping[str, Any] | None = None) -> None:
        """Store a batch, and say that the ingestor lives, in one transaction. Raises FencedError."""
        with self.holding.begun() as connection:
            self._samples.write(connection, sample_rows(batch.samples))
            marks = self._rollup.mark(connection, batch.samples)
            self._states.write(connection, state_rows(batch.machines.values(), self.holding.writer))
            self._streams.write(connection, stream_rows(batch.streams.values()))
            self._write_infos(connection, batch)
            self._append(connection, tables.transition, _transition_rows(batch))
            self._write_incidents(connection, batch)
            write_alerts(connection, batch.alerts)
            write_changes(connection, batch.changes, self._insert)
            self._append(connection, tables.dead_letter, _dead_letter_rows(batch))
            self._prune_dead_letters(connection, len(batch.rejected))
            if heartbeat is not None:
                self._write_heartbeat(connection, heartbeat)
        self._rollup.committed(marks)

    def tend(self, now: int) -> bool:
        """Do a small step of what can wait: roll up, or else prune. Returns whether there may be more to do."""
        return self._rollup.step(now) or self._pruning.step(now)

    def _write_heartbeat(self, connection: Connection, heartbeat: Mapping[str, Any]) -> None:
        statement = self._insert(tables.ingestor).values(name=self._name, **heartbeat)
        connection.execute(
            statement.on_conflict_do_update(index_elements=[tables.ingestor.c.name], set_=dict(heartbeat))
        )

    def _append(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            connection.execute(table.insert(), rows)

    def _write_infos(self, connection: Connection, batch: Batch) -> None:
        for machine, info in batch.infos.values():
            connection.execute(
                tables.machine.update()
                .where(tables.machine.c.id == machine.id)
                .values(
                    hostname=info.hostname,
                    os=info.os,
                    os_version=info.os_version,
                    agent_version=info.agent_version,
                    hardware_id=info.hardware_id,
                    labels=info.labels,
                    info=info.model_dump(mode="json"),
                )
            )

    def _write_incidents(self, connection: Connection, batch: Batch) -> None:
        table = tables.incident
        for incident in batch.incidents:
            values = {"ended_at": incident.ended_at, "details": incident.details}
            if incident.id is not None:
                connection.execute(table.update().where(table.c.id == incident.id).values(values))
                continue
            org_id = select(tables.org.c.id).where(tables.org.c.name == incident.org).scalar_subquery()
            begun = {"org_id": org_id, "kind": incident.kind.value, "started_at": incident.started_at, **values}
            key = connection.execute(table.insert().values(begun)).inserted_primary_key
            incident.id = None if key is None else int(key[0])

    def _prune_dead_letters(self, connection: Connection, added: int) -> None:
        """Keep the newest dead letters only; looked at once in a while, since counting costs."""
        self._dead_letters_since_pruning += added
        if self._dead_letters_since_pruning < _DEAD_LETTERS_PRUNED_EACH:
            return
        self._dead_letters_since_pruning = 0
        letters = tables.dead_letter
        newest = connection.scalar(select(func.max(letters.c.id))) or 0
        connection.execute(delete(letters).where(letters.c.id <= newest - self._dead_letter_max))


def _key_changes(connection: Connection) -> dict[int, list[Signed]]:
    """Who may sign orders, by the organisation's row, in the order in which it was signed."""
    found: dict[int, list[Signed]] = {}
    for row in connection.execute(select(tables.key_change).order_by(tables.key_change.c.id)):
        signed = Signed.model_construct(statement=row.statement, key=row.key, signature=row.signature)
        found.setdefault(row.org_id, []).append(signed)
    return found


def _transition_rows(batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "machine_id": change.machine.id,
            "at": change.at,
            "before": change.before.presence.value,
            "after": change.after.presence.value,
            "reason": change.after.reason,
            "session": change.after.session,
        }
        for change in batch.transitions
    ]


def _dead_letter_rows(batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "received_at": letter.received_at,
            "topic": storable(letter.topic),
            "reason": letter.reason,
            "detail": storable(letter.detail),
            "size_bytes": len(letter.payload),
            "payload_start": storable(letter.payload[:PAYLOAD_KEPT_BYTES].decode("utf-8", "backslashreplace")),
        }
        for letter in batch.rejected
    ]
