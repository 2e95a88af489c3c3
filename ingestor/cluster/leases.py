"""Leases in the fleet's database: how several ingestors share the work.

There is one lease for the timers, and one for each part of the work: an organisation, or a part of all machines. A
holder keeps it while its heartbeat says that it is alive and hears the broker.

Invariants:
- Only this process's own monotonic clock decides that a holder is gone: its heartbeat did not change for LEASE_SECONDS.
  Clocks of two servers are never compared.
- A take-over raises the epoch of the former holder (a fencing token), and every transaction of an ingestor first checks
  its own (`fence`). So an ingestor that stalled, and does not know of the take-over yet, writes nothing more.
- An ingestor that starts has the leases of its name, and fences off any process that still runs under that name.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Engine, delete, select
from sqlalchemy.engine import Connection

from ingestor.storage.bulk import dialect_insert
from runtime.clock import Clock
from schemas.database.queries.heartbeat import PATIENCE_SECONDS, every_ingestor, newest_heartbeat
from schemas.database.tables import ingestor, lease, org

TIMERS: Final = "_timers"
"""The lease of the leader, which runs all timers; not a valid name of an organisation."""

PARTS: Final = 60
"""Parts of all machines: they can be divided evenly among two to six ingestors."""

LEASE_SECONDS: Final = PATIENCE_SECONDS
"""Time without a heartbeat after which leases are taken over."""

NOBODY: Final = ""


def part_lease(part: int) -> str:
    """Return the name of the lease of a part of the machines, from 0 to PARTS - 1; not one of an organisation."""
    return f"_part-{part:02}"


_PART_LEASES: Final = tuple(part_lease(part) for part in range(PARTS))


class FencedError(Exception):
    """Leases of this ingestor were taken over, or another one of its name was started: its work starts again."""


class Leases:
    """The leases of the ingestor called `name`."""

    def __init__(self, engine: Engine, *, name: str, clock: Clock) -> None:
        self.name = name
        self._engine = engine
        self._insert: Any = dialect_insert(engine)
        self._peers = _Peers(name, clock)
        self.epoch = 0
        """Number of starts and lost leases of this name, up to this start."""

    def begin(self, now: int) -> None:
        """Raise the epoch of this name: no other process can write under it. `now`: server time in milliseconds."""
        first = {"started_at": now, "beat_at": now, "broker_connected": False, "counters": {}, "epoch": 1}
        again = {"epoch": ingestor.c.epoch + 1, "broker_connected": False}
        statement = self._insert(ingestor).values(name=self.name, **first)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=again)
        with self._engine.begin() as connection:
            self.epoch = connection.execute(statement.returning(ingestor.c.epoch)).scalar_one()

    def fence(self, connection: Connection) -> None:
        """Check the epoch at the start of a transaction. Raises FencedError."""
        mine = (ingestor.c.name == self.name) & (ingestor.c.epoch == self.epoch)
        # An update, so that on SQLite no other transaction writes until this one ends.
        if connection.execute(ingestor.update().where(mine).values(epoch=ingestor.c.epoch)).rowcount == 0:
            raise FencedError

    def step(self, *, by_org: bool, hearing: bool) -> tuple[frozenset[str], frozenset[str]]:
        """Acquire free leases up to a fair share, and release those above it; return the leases held, and all.

        `by_org`: organisations have leases, otherwise parts of the machines; `hearing`: this ingestor hears the broker.
        Raises FencedError.
        """
        with self._engine.begin() as connection:
            self.fence(connection)
            wanted = {TIMERS, *(connection.scalars(select(org.c.name)) if by_org else _PART_LEASES)}
            self._peers.update(connection)
            holders = self._holders(connection, wanted)
            taken, released = self._choose(holders, hearing=hearing)
            held = {name for name, holder in holders.items() if holder == self.name} - set(released)
            held |= {name for name in taken if self._acquire(connection, name, holders[name])}
            for name in released:
                mine = (lease.c.name == name) & (lease.c.holder == self.name)
                connection.execute(lease.update().where(mine).values(holder=NOBODY))
        return frozenset(held), frozenset(wanted)

    def release(self) -> None:
        """Release all leases, at a graceful stop. Raises FencedError."""
        with self._engine.begin() as connection:
            self.fence(connection)
            connection.execute(lease.update().where(lease.c.holder == self.name).values(holder=NOBODY))

    def _holders(self, connection: Connection, wanted: Collection[str]) -> dict[str, str]:
        """Return the holder of each lease, after inserting new ones and deleting those of removed organisations."""
        found = {row.name: row.holder for row in connection.execute(select(lease))}
        new = [{"name": name, "holder": NOBODY} for name in sorted(wanted - found.keys())]
        if new:
            connection.execute(self._insert(lease).on_conflict_do_nothing(), new)
        unwanted = [name for name, holder in found.items() if name not in wanted and holder in (NOBODY, self.name)]
        if unwanted:
            connection.execute(delete(lease).where(lease.c.name.in_(unwanted)))
        return {name: found.get(name, NOBODY) for name in sorted(wanted)}

    def _choose(self, holders: Mapping[str, str], *, hearing: bool) -> tuple[list[str], list[str]]:
        """Return the leases to acquire, and those to release."""
        free = [name for name, holder in holders.items() if self._is_free(holder, hearing=hearing)]
        if not hearing and self._peers.hearing:
            return [], []  # they hear the messages that this one would miss
        work = [name for name in holders if name != TIMERS]
        mine = [name for name in work if holders[name] == self.name]
        share = math.ceil(len(work) / (1 + len(self._peers.hearing)))
        wanted = [name for name in free if name != TIMERS][: max(0, share - len(mine))]
        return [*wanted, *(name for name in free if name == TIMERS)], mine[share:]

    def _is_free(self, holder: str, *, hearing: bool) -> bool:
        if holder == self.name:
            return False
        return holder not in self._peers.alive or (hearing and holder in self._peers.deaf)

    def _acquire(self, connection: Connection, name: str, holder: str) -> bool:
        """Acquire a lease from this holder; return False if another ingestor was faster."""
        same = (lease.c.name == name) & (lease.c.holder == holder)
        if connection.execute(lease.update().where(same).values(holder=self.name)).rowcount == 0:
            return False
        if holder != NOBODY:
            connection.execute(ingestor.update().where(ingestor.c.name == holder).values(epoch=ingestor.c.epoch + 1))
        return True


class _Peers:
    """The other ingestors, by the changes of their heartbeats. Each gets LEASE_SECONDS from the first look."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._beats: dict[str, int] = {}
        self._connected: set[str] = set()
        self._alive_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}

    def update(self, connection: Connection) -> None:
        for row in connection.execute(every_ingestor().where(ingestor.c.name != self._name)):
            beat = newest_heartbeat(connection.engine, row)
            name, beat_at, connected = row.name, beat.at, beat.broker_connected
            (self._connected.add if connected else self._connected.discard)(name)
            if self._beats.get(name) != beat_at:
                self._alive_at[name] = self._clock.monotonic()
                if connected or name not in self._beats:
                    self._heard_at[name] = self._clock.monotonic()
                self._beats[name] = beat_at

    @property
    def alive(self) -> frozenset[str]:
        return self._recent(self._alive_at)

    @property
    def hearing(self) -> frozenset[str]:
        """Return those that are alive and hear the broker."""
        return self.alive & self._connected

    @property
    def deaf(self) -> frozenset[str]:
        """Return those that have not heard the broker for LEASE_SECONDS."""
        return frozenset(self._beats) - self._recent(self._heard_at)

    def _recent(self, times: Mapping[str, float]) -> frozenset[str]:
        since = self._clock.monotonic() - LEASE_SECONDS
        return frozenset(name for name, at in times.items() if at > since)
