"""The ingestor's database: one transaction per batch, and the reads that fill its memory.

Invariants:
- `write` is one transaction. Every statement in it is idempotent and may come in another order.
- Machines in a batch were locked before their messages were handled (`ingestor.storage.row_locks`).
- Data that the database refuses permanently (of a machine that was removed meanwhile) raises IntegrityError or
  DataError; an unavailable database raises another DBAPIError.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine, func, select, update
from sqlalchemy.engine import Connection

from ingestor.domain.batch import Batch
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.storage.bulk import bulk, dialect_insert
from ingestor.storage.command_store import CommandStore, write_changes
from ingestor.storage.dead_letters import DeadLetters
from ingestor.storage.fact_store import FactStore
from ingestor.storage.incident_store import write_alerts, write_incidents, write_pending
from ingestor.storage.machine_loader import every_machine, load
from ingestor.storage.retired_machines import write_retiring
from ingestor.storage.rollup_marks import RollupMarks
from ingestor.storage.row_encoding import (
    SAMPLE_COLUMNS,
    STATE_COLUMNS,
    STREAM_COLUMNS,
    sample_rows,
    state_rows,
    stream_rows,
)
from ingestor.storage.row_locks import RowLocks
from ingestor.storage.series_rows import SeriesRows
from ingestor.storage.transition_log import TRANSITIONS_MAX, TransitionLog
from schemas.contract.messages import KEY_CHANGES_MAX, Info, Signed
from schemas.contract.org_config import OrgConfig
from schemas.database import tables
from schemas.database.sample_key import IF_NEW

log = logging.getLogger(__name__)


class Store:
    """The fleet's database, for the ingestor called `name`.

    `dead_letter_max`: number of dead letters to keep; `transitions_max`: transitions of one machine per hour.
    """

    def __init__(
        self, engine: Engine, *, name: str, dead_letter_max: int, transitions_max: int = TRANSITIONS_MAX
    ) -> None:
        self.engine = engine
        self.name = name
        self.commands = CommandStore(engine)
        self.locks = RowLocks(engine)
        self.marks = RollupMarks(engine)
        self.series = SeriesRows(engine)
        self.transitions = TransitionLog(transitions_max)
        self._facts = FactStore(engine)
        self._dead_letters = DeadLetters(dead_letter_max)
        self._unreadable: set[str] = set()
        self._insert: Any = dialect_insert(engine)
        self._samples = bulk(engine, tables.sample, SAMPLE_COLUMNS, overwrite=False, if_new=IF_NEW)
        self._states = bulk(engine, tables.state, STATE_COLUMNS, overwrite=True)
        self._reports = bulk(engine, tables.state, STATE_COLUMNS, overwrite=True, unchanged=("presence",))
        self._streams = bulk(engine, tables.stream, STREAM_COLUMNS, overwrite=True)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction of its own. Raises FencedError if another ingestor has taken over."""
        with self.engine.begin() as connection:
            self.locks.fence(connection)
            yield connection

    def machines(self, ids: Collection[int] | None = None) -> list[Machine]:
        """Return the whole fleet with its ledgers, or these machines."""
        query = every_machine() if ids is None else every_machine().where(tables.machine.c.id.in_(ids))
        with self.engine.connect() as connection:
            return load(connection, query, ids)

    def machine(self, org: str, name: str) -> Machine | None:
        """Return one machine, or None."""
        query = every_machine().where(tables.org.c.name == org, tables.machine.c.name == name)
        with self.engine.connect() as connection:
            found = load(connection, query)
        if found:
            self.clear_marks()  # it may have the id of a machine that was removed
        return found[0] if found else None

    def configs(self) -> dict[str, tuple[OrgConfig, int]]:
        """Return each organisation's configuration and number of machines; defaults for an invalid one."""
        count = select(func.count()).where(tables.machine.c.org_id == tables.org.c.id).scalar_subquery()
        query = select(tables.org.c.id, tables.org.c.name, tables.org.c.config, count.label("machines"))
        with self.engine.connect() as connection:
            changes = _key_changes(connection)
            return {
                row.name: (self._read_config(row.name, row.config, changes.get(row.id, [])), row.machines)
                for row in connection.execute(query)
            }

    def revoked_machines(self) -> frozenset[tuple[str, str]]:
        """Return the machines (organisation, id) with a revoked credential, also those of removed organisations."""
        table = tables.principal
        revoked = select(table.c.org, table.c.name).where(table.c.revoked_at.is_not(None), table.c.role == "machine")
        with self.engine.connect() as connection:
            return frozenset((row.org, row.name) for row in connection.execute(revoked))

    def write(self, batch: Batch, heartbeat: Mapping[str, Any] | None = None) -> None:
        """Store a batch, and this ingestor's heartbeat, in one transaction. Raises FencedError."""
        with self.locks.transaction() as connection:
            self._samples.write(connection, sample_rows(batch.samples))
            marks = self.marks.write(connection, batch.samples)
            hours = self.series.write(connection, batch.samples)
            self._write_states(connection, batch)
            self._streams.write(connection, stream_rows(batch.streams.values()))
            for machine, info in batch.infos.values():
                _write_info(connection, machine, info)
            self.transitions.write(connection, batch.transitions)
            self._facts.write(connection, batch.facts.values(), batch.transitions)
            write_incidents(connection, batch.incidents)
            write_alerts(connection, batch.alerts)
            write_pending(connection, batch.pending)
            write_changes(connection, batch.changes, self._insert)
            write_retiring(connection, batch.retiring)
            self._dead_letters.write(connection, batch.dead_letters)
            if heartbeat is not None:
                beat = self._insert(tables.ingestor).values(name=self.name, **heartbeat)
                connection.execute(beat.on_conflict_do_update(index_elements=["name"], set_=dict(heartbeat)))
        self.marks.committed(marks)
        self.series.committed(hours)

    def _write_states(self, connection: Connection, batch: Batch) -> None:
        """Write the states: on SQLite those of machines that were online before apart, as nearly all are."""
        changed = {change.machine.id for change in batch.transitions}
        split = connection.dialect.name == "sqlite"
        states: tuple[list[Machine], list[Machine]] = [], []
        for machine in batch.machines.values():
            was_online = machine.state.presence is Presence.ONLINE and machine.id not in changed
            states[split and was_online].append(machine)
        truth = int if split else bool
        self._states.write(connection, state_rows(states[False], self.locks.writer, truth))
        self._reports.write(connection, state_rows(states[True], self.locks.writer, truth))

    def clear_marks(self, *, exclusive: bool | None = None) -> None:
        """Evict the cached marks of new samples. `exclusive`: whether no other ingestor deletes marks from now on."""
        for marks in (self.marks, self.series):
            marks.exclusive = marks.exclusive if exclusive is None else exclusive
            marks.clear()

    def _read_config(self, org: str, config: object, key_changes: list[Signed]) -> OrgConfig:
        try:
            read = OrgConfig.model_validate(config)
            self._unreadable.discard(org)
        except ValidationError as error:
            read = OrgConfig()
            if org not in self._unreadable:
                log.error("the configuration of %s is invalid, the defaults apply: %s", org, error.errors()[0]["msg"])
            self._unreadable.add(org)
        return read.model_copy(update={"key_changes": tuple(key_changes[:KEY_CHANGES_MAX])})


def _write_info(connection: Connection, machine: Machine, info: Info) -> None:
    fields = ("hostname", "os", "os_version", "agent_version", "hardware_id", "labels")
    values = {**{name: getattr(info, name) for name in fields}, "info": info.model_dump(mode="json")}
    connection.execute(update(tables.machine).where(tables.machine.c.id == machine.id).values(values))


def _key_changes(connection: Connection) -> dict[int, list[Signed]]:
    """Return the changes of signing keys by organisation id, in the order in which they were signed."""
    found: dict[int, list[Signed]] = {}
    for row in connection.execute(select(tables.key_change).order_by(tables.key_change.c.id)):
        signed = Signed.model_construct(statement=row.statement, key=row.key, signature=row.signature)
        found.setdefault(row.org_id, []).append(signed)
    return found
