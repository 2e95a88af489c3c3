"""Row locks on machines that several ingestors may write at the same time, each for one transaction.

Invariants:
- The holder of a lock knows what other ingestors wrote: the row names its last writer (`writer`), and if that was
  another ingestor, the machine is read again.
- No ingestor waits for a lock: messages of a machine that another one has locked are deferred. So there is no deadlock.
- On SQLite nothing is locked: there one ingestor holds the organisation's lease, and every transaction begins with a
  write, so that only one is open.
"""

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection, RootTransaction
from sqlalchemy.exc import DBAPIError

from ingestor.domain.machine import Machine
from ingestor.storage.bulk import PreparedRows
from ingestor.storage.machine_loader import among, every_machine, load
from ingestor.storage.row_encoding import STATE_COLUMNS, state_rows
from schemas.database.tables import state

Fence = Callable[[Connection], None]


class RowLocks:
    """The locks of one batch, and its transaction."""

    def __init__(self, engine: Engine) -> None:
        self.shared = engine.dialect.name == "postgresql"
        """Whether other ingestors may write the same machines at the same time."""
        self.writer = secrets.randbits(62)
        """Identity of this run of this ingestor."""
        self.fence: Fence = lambda _connection: None
        """Called at the start of every transaction (`ingestor.cluster.leases`)."""
        self._states = PreparedRows(engine, state, STATE_COLUMNS, overwrite=False)  # COPY is taken in this transaction
        self._engine = engine
        self._open: tuple[Connection, RootTransaction] | None = None

    def acquire(self, machines: Collection[Machine]) -> Collection[int]:
        """Lock these machines, beginning the transaction if necessary, and read what other ingestors wrote of them.

        Returns the ids of those that were locked. `transaction` or `release` ends it, also after an error.
        """
        if not self.shared:
            return {machine.id for machine in machines}
        if not machines:
            return set()
        known = {machine.id: machine for machine in machines}
        connection, _ = self._begin()
        writers = _lock(connection, known)
        if len(writers) < len(known):
            self._insert_states(connection, {id_: known[id_] for id_ in known.keys() - writers.keys()})
            writers = _lock(connection, known)
        self._adopt(connection, known, writers)
        return writers.keys()

    def refresh(self, machines: Collection[Machine]) -> list[Machine]:
        """Read what other ingestors wrote of these machines, without locking; return those that had changed."""
        if not self.shared or not machines:
            return []
        known = {machine.id: machine for machine in machines}
        with self._engine.connect() as connection:
            rows = connection.execute(select(state.c.machine_id, state.c.writer).where(among(state, known)))
            return self._adopt(connection, known, {row.machine_id: row.writer for row in rows})

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit the transaction that `acquire` has begun, or a new one."""
        connection, transaction = self._begin()
        self._open = None
        with connection, transaction:
            yield connection

    def release(self) -> None:
        """Roll back the transaction that `acquire` has begun, if any."""
        if self._open is not None:
            (connection, transaction), self._open = self._open, None
            with suppress(DBAPIError):  # the database may be unavailable
                transaction.rollback()
            connection.close()

    def _begin(self) -> tuple[Connection, RootTransaction]:
        if self._open is None:
            connection = self._engine.connect()
            self._open = connection, connection.begin()
            self.fence(connection)
        return self._open

    def _insert_states(self, connection: Connection, machines: Mapping[int, Machine]) -> None:
        """Insert the rows of machines that were never heard, so that they can be locked."""
        new = machines.keys() - set(connection.scalars(select(state.c.machine_id).where(among(state, machines))))
        self._states.write(connection, state_rows((machines[id_] for id_ in sorted(new)), self.writer, bool))

    def _adopt(self, connection: Connection, known: Mapping[int, Machine], writers: Mapping[int, Any]) -> list[Machine]:
        others = [id_ for id_, writer in writers.items() if writer != self.writer]
        stored = load(connection, every_machine().where(among(state, others)), others) if others else []
        for machine in stored:
            known[machine.id].adopt(machine)
        return [known[machine.id] for machine in stored]


def _lock(connection: Connection, ids: Collection[int]) -> dict[int, int | None]:
    """Lock those of these machines that no other transaction has locked; return the last writer of each."""
    query = select(state.c.machine_id, state.c.writer).where(among(state, ids)).with_for_update(skip_locked=True)
    return dict(connection.execute(query).all())
