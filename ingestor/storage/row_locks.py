"""Machines that one ingestor writes of while others may too: a lock for as long as a transaction.

Invariants:
- Who holds a machine knows what others wrote of it: the row says who wrote last (`writer`), and if that was another
  ingestor, the machine is read anew.
- Nobody waits for a lock: who finds a machine held by another puts off what it has to write. So there is no deadlock.
- On SQLite nothing is locked: there a machine has one ingestor, which holds its organisation's lease, and a
  transaction begins with a write, so that it is the only one.
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


class Holding:
    """The transaction of one batch. `fence`: with what every transaction begins."""

    def __init__(self, engine: Engine, *, fence: Fence) -> None:
        self.shares = engine.dialect.name == "postgresql"
        """Whether others may write of the same machines at the same time."""
        self.writer = secrets.randbits(62)
        """This run of this ingestor."""
        self._states = PreparedRows(
            engine, state, STATE_COLUMNS, overwrite=False
        )  # `write` copies states in this transaction
        self._engine = engine
        self._fence = fence
        self._open: tuple[Connection, RootTransaction] | None = None

    def hold(self, machines: Collection[Machine]) -> Collection[int]:
        """Begin a transaction, unless it has begun, in which nobody else writes of these machines.

        Those, by their rows, of which that is so; what others wrote of them is known now. `begun` or `let_go` ends it,
        also after an error.
        """
        if not self.shares:
            return {machine.id for machine in machines}
        if not machines:
            return set()
        known = {machine.id: machine for machine in machines}
        connection, _ = self._opened()
        writers = _locked(connection, known)
        if len(writers) < len(known):
            self._make_rows(connection, {id_: known[id_] for id_ in known.keys() - writers.keys()})
            writers = _locked(connection, known)
        self._adopt(connection, known, writers)
        return writers.keys()

    def look_again(self, machines: Collection[Machine]) -> list[Machine]:
        """Learn what others wrote of these machines, without a lock. Those of which they did."""
        if not self.shares or not machines:
            return []
        known = {machine.id: machine for machine in machines}
        with self._engine.connect() as connection:
            rows = connection.execute(select(state.c.machine_id, state.c.writer).where(among(state, known)))
            return self._adopt(connection, known, {row.machine_id: row.writer for row in rows})

    @contextmanager
    def begun(self) -> Iterator[Connection]:
        """The transaction that `hold` has begun, or a new one."""
        connection, transaction = self._opened()
        self._open = None
        with connection, transaction:
            yield connection

    def let_go(self) -> None:
        """End the transaction that `hold` has begun, if any, without writing."""
        if self._open is not None:
            (connection, transaction), self._open = self._open, None
            with suppress(DBAPIError):  # the database may be away
                transaction.rollback()
            connection.close()

    def _opened(self) -> tuple[Connection, RootTransaction]:
        if self._open is None:
            connection = self._engine.connect()
            self._open = connection, connection.begin()
            self._fence(connection)
        return self._open

    def _make_rows(self, connection: Connection, machines: Mapping[int, Machine]) -> None:
        """Give those of these machines a row that were never heard of."""
        new = machines.keys() - set(connection.scalars(select(state.c.machine_id).where(among(state, machines))))
        self._states.write(connection, state_rows((machines[id_] for id_ in sorted(new)), self.writer))

    def _adopt(self, connection: Connection, known: Mapping[int, Machine], writers: Mapping[int, Any]) -> list[Machine]:
        others = [id_ for id_, writer in writers.items() if writer != self.writer]
        stored = load(connection, every_machine().where(among(state, others)), others) if others else []
        for machine in stored:
            known[machine.id].adopt(machine)
        return [known[machine.id] for machine in stored]


def _locked(connection: Connection, ids: Collection[int]) -> dict[int, int | None]:
    """Lock the states of those machines that nobody else has locked; who wrote each last."""
    query = select(state.c.machine_id, state.c.writer).where(among(state, ids)).with_for_update(skip_locked=True)
    return {row.machine_id: row.writer for row in connection.execute(query)}
