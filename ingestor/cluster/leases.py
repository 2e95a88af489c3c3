"""Who of several ingestors does what: leases in the fleet's database.

A lease is held for as long as its holder says, with its heartbeat, that it lives and hears the broker. There is one
for the timers and one for each organisation.

Invariants:
- Only this process's own monotonic clock decides that a holder is gone: its heartbeat stood still for LEASE_SECONDS.
  No two servers' clocks are ever compared.
- What is taken from a holder raises its epoch, and every transaction of an ingestor begins with a look at its own
  (`fence`). So whoever stood still, and does not know yet that its work was taken over, writes nothing more.
- An ingestor that starts has what was held under its name, and whatever still runs under that name is fenced off.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from schemas.database.queries.heartbeat import PATIENCE_SECONDS
from schemas.database.tables import ingestor, lease, org

TIMERS: Final = "_timers"
"""The lease for what there is only one of: no organisation has a name like this."""

LEASE_SECONDS: Final = PATIENCE_SECONDS
"""Without a heartbeat for so long, an ingestor's work is taken over."""

NOBODY: Final = ""


class FencedError(Exception):
    """Something was taken from this ingestor, or another one of its name was started: it has to begin anew."""


class Leases:
    """What the ingestor called `name` holds. `monotonic`: seconds that never step."""

    def __init__(self, engine: Engine, *, name: str, monotonic: Callable[[], float]) -> None:
        self.name = name
        self._engine = engine
        self._insert: Any = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
        self._peers = _Peers(name, monotonic)
        self._epoch: int | None = None

    def begin(self, now: int) -> None:
        """Start: from now on nothing else writes under this name. `now`: milliseconds of the server's clock."""
        first = {"started_at": now, "beat_at": now, "broker_connected": False, "counters": {}, "epoch": 1}
        again = {"epoch": ingestor.c.epoch + 1, "broker_connected": False}
        statement = self._insert(ingestor).values(name=self.name, **first)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=again)
        with self._engine.begin() as connection:
            self._epoch = connection.scalar(statement.returning(ingestor.c.epoch))

    def fence(self, connection: Connection) -> None:
        """Begin a transaction that only the rightful ingestor may commit. Raises FencedError."""
        mine = (ingestor.c.name == self.name) & (ingestor.c.epoch == self._epoch)
        # It writes, so that on SQLite nobody else does until this transaction ends.
        if connection.execute(ingestor.update().where(mine).values(epoch=ingestor.c.epoch)).rowcount == 0:
            raise FencedError

    def step(self, *, by_org: bool, hearing: bool) -> tuple[frozenset[str], frozenset[str]]:
        """Take what is free, up to a fair share, and give back what is over it.

        `by_org`: organisations are divided, too; `hearing`: this ingestor hears the broker. The leases held, and all
        that there are. Raises FencedError.
        """
        with self._engine.begin() as connection:
            self.fence(connection)
            wanted = {TIMERS, *(connection.scalars(select(org.c.name)) if by_org else ())}
            self._peers.look(connection)
            holders = self._holders(connection, wanted)
            taken, given = self._choose(holders, hearing=hearing)
            held = {name for name, holder in holders.items() if holder == self.name} - set(given)
            held |= {name for name in taken if self._take(connection, name, holders[name])}
            for name in given:
                mine = (lease.c.name == name) & (lease.c.holder == self.name)
                connection.execute(lease.update().where(mine).values(holder=NOBODY))
        return frozenset(held), frozenset(wanted)

    def release(self) -> None:
        """Give back everything, at an orderly end. Raises FencedError."""
        with self._engine.begin() as connection:
            self.fence(connection)
            connection.execute(lease.update().where(lease.c.holder == self.name).values(holder=NOBODY))

    def _holders(self, connection: Connection, wanted: Collection[str]) -> dict[str, str]:
        """Who holds what is wanted. What is new is nobody's, and what nobody wants any more is forgotten."""
        found = {row.name: row.holder for row in connection.execute(select(lease))}
        new = [{"name": name, "holder": NOBODY} for name in sorted(wanted - found.keys())]
        if new:
            connection.execute(self._insert(lease).on_conflict_do_nothing(), new)
        unwanted = [name for name, holder in found.items() if name not in wanted and holder in (NOBODY, self.name)]
        if unwanted:
            connection.execute(delete(lease).where(lease.c.name.in_(unwanted)))
        return {name: found.get(name, NOBODY) for name in sorted(wanted)}

    def _choose(self, holders: Mapping[str, str], *, hearing: bool) -> tuple[list[str], list[str]]:
        """Which to take, and which to give back."""
        free = [name for name, holder in holders.items() if self._is_free(holder, hearing=hearing)]
        if not hearing and self._peers.hearing:
            return [], []  # they hear what this one would miss
        orgs = [name for name in holders if name != TIMERS]
        mine = [name for name in orgs if holders[name] == self.name]
        share = math.ceil(len(orgs) / (1 + len(self._peers.hearing)))
        wanted = [name for name in free if name != TIMERS][: max(0, share - len(mine))]
        return [*wanted, *(name for name in free if name == TIMERS)], mine[share:]

    def _is_free(self, holder: str, *, hearing: bool) -> bool:
        if holder == self.name:
            return False
        return holder not in self._peers.alive or (hearing and holder in self._peers.deaf)

    def _take(self, connection: Connection, name: str, holder: str) -> bool:
        """Take a lease from this holder. False when another was faster."""
        same = (lease.c.name == name) & (lease.c.holder == holder)
        if connection.execute(lease.update().where(same).values(holder=self.name)).rowcount == 0:
            return False
        if holder != NOBODY:
            connection.execute(ingestor.update().where(ingestor.c.name == holder).values(epoch=ingestor.c.epoch + 1))
        return True


class _Peers:
    """The other ingestors, by how their heartbeats change. Each is given LEASE_SECONDS from the first look."""

    def __init__(self, name: str, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._monotonic = monotonic
        self._beats: dict[str, int] = {}
        self._connected: set[str] = set()
        self._alive_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}

    def look(self, connection: Connection) -> None:
        """See who has said something since the last look."""
        query = select(ingestor.c.name, ingestor.c.beat_at, ingestor.c.broker_connected)
        for name, beat_at, connected in connection.execute(query.where(ingestor.c.name != self._name)):
            (self._connected.add if connected else self._connected.discard)(name)
            if self._beats.get(name) != beat_at:
                self._alive_at[name] = self._monotonic()
                if connected or name not in self._beats:
                    self._heard_at[name] = self._monotonic()
                self._beats[name] = beat_at

    @property
    def alive(self) -> frozenset[str]:
        """Those that live, as far as can be told."""
        return self._recent(self._alive_at)

    @property
    def hearing(self) -> frozenset[str]:
        """Those that live and hear the broker."""
        return self.alive & self._connected

    @property
    def deaf(self) -> frozenset[str]:
        """Those that have not heard the broker for LEASE_SECONDS."""
        return frozenset(self._beats) - self._recent(self._heard_at)

    def _recent(self, times: Mapping[str, float]) -> frozenset[str]:
        since = self._monotonic() - LEASE_SECONDS
        return frozenset(name for name, at in times.items() if at > since)
