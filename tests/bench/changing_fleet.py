"""A fleet of thousands in a database, and a process that changes it as an ingestor does.

    python changing_fleet.py DATABASE_URL

Of every hundred machines some are stale, offline, or busy; each online one gets other figures every five seconds, a
tenth of them each half second. The last half hour of every machine is there by the minute. Prints `ready` after the
first five seconds.
"""

import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from seeding import ACTIONS, INFO, Fleet
from sqlalchemy import Engine, Float, Insert, bindparam, cast, insert, literal, select, update

from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.fleet.health import health
from schemas.fleet.history import MINUTE

PERIOD_SECONDS = 5.0
SHARES = 10
"""The online machines change in so many parts, one after the other."""

_SYSTEMS = ("Debian GNU/Linux", "Ubuntu", "Windows", "FreeBSD", "Alpine Linux")
_SITES = ("paris", "lyon", "madrid", "kazan", "leeds", "oslo", "turin")
_PRESENCES = {7: "stale", 23: "offline", 61: "offline"}
"""By a machine's number, of each hundred."""


def now() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


def seed(engine: Engine, machines: int, *, trend_minutes: int = 30) -> Fleet:
    """Write the fleet to a database that is empty but for its tables."""
    fleet = Fleet(engine, now=now())
    numbers = random.Random(1)  # noqa: S311 - figures, not secrets
    org_id = fleet.org()
    info = {**INFO, "actions": ACTIONS}
    with engine.begin() as connection:
        connection.execute(
            insert(tables.machine), [_machine(fleet, number, org_id, info) for number in range(machines)]
        )
        keys = connection.execute(select(tables.machine.c.id).order_by(tables.machine.c.name)).scalars().all()
        states = [_state(fleet, key, number, numbers) for number, key in enumerate(keys)]
        connection.execute(insert(tables.state), states)
        for back in range(trend_minutes, 0, -1):
            connection.execute(_minute((fleet.now // MINUTE - back) * MINUTE))
    fleet.beat(fleet.now + 86_400_000)
    return fleet


def _machine(fleet: Fleet, number: int, org_id: int, info: dict[str, Any]) -> dict[str, Any]:
    name = f"m-{number:05}"
    return {
        "org_id": org_id,
        "name": name,
        "created_at": fleet.now,
        "hostname": f"{name}.example.org",
        "os": _SYSTEMS[number % len(_SYSTEMS)],
        "os_version": "12",
        "agent_version": f"0.{number % 3}.0",
        "labels": {"site": _SITES[number % len(_SITES)], "rack": f"r{number % 40}"},
        "info": info,
    }


def _state(fleet: Fleet, key: int, number: int, numbers: random.Random) -> dict[str, Any]:
    presence = _PRESENCES.get(number % 100, "online")
    return fleet.state(key, {"presence": presence, "uptime_seconds": 60 * number, **figures(numbers)})


def _minute(at: int) -> Insert:
    """A minute of every machine, made in the database."""
    key = tables.machine.c.id
    percent = cast((key * 7919 + at // MINUTE * 31) % 60, Float)
    zeros = {column.name: literal(0) for column in tables.minute.c if column.name.endswith("_count")}
    times = {"at": literal(at), "samples": literal(6), "sampled_from": literal(0), "sampled_to": literal(0)}
    values = {"machine_id": key, **zeros, **times, "cpu_percent_count": literal(6), "cpu_percent_avg": percent}
    return insert(tables.minute).from_select(list(values), select(*values.values()))


def figures(numbers: random.Random) -> dict[str, Any]:
    """Other vitals with their health: one machine in fifty is in trouble."""
    busy = numbers.random() < 0.02
    cpu = numbers.uniform(85, 100) if busy else numbers.uniform(1, 60)
    memory, disk = numbers.uniform(20, 95 if busy else 60), numbers.uniform(20, 70)
    judged = health(cpu, memory, disk)
    shares = {"cpu_percent": round(cpu, 2), "memory_percent": round(memory, 2), "disk_percent": round(disk, 2)}
    return {**shares, "health_score": judged.score, "health_status": judged.status.value}


def change(engine: Engine, keys: list[int], numbers: random.Random) -> None:
    """Give these machines other figures, in one transaction."""
    names = ("cpu_percent", "memory_percent", "disk_percent", "health_score", "health_status")
    at = now()
    statement = (
        update(tables.state)
        .where(tables.state.c.machine_id == bindparam("key"))
        .values({name: bindparam(name) for name in names} | {"last_seen_at": at, "sampled_at": at})
    )
    with engine.begin() as connection:
        connection.execute(statement, [{"key": key, **figures(numbers)} for key in keys])


def main(url: str) -> None:
    """Change the fleet until the process is ended."""
    engine = open_engine(url)
    numbers = random.Random(2)  # noqa: S311 - as above
    with engine.connect() as connection:
        online = select(tables.state.c.machine_id).where(tables.state.c.presence == "online")
        keys = list(connection.execute(online).scalars())
    turn, next_at = 0, time.monotonic()
    while True:
        change(engine, keys[turn % SHARES :: SHARES], numbers)
        turn, next_at = turn + 1, next_at + PERIOD_SECONDS / SHARES
        if turn == SHARES:
            print("ready", flush=True)
        time.sleep(max(0.0, next_at - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1])
