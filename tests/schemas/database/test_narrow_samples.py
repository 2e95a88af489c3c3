"""The migrations that make samples narrower, in both directions, over a filled table.

The short form moves 20,000 rows with readings of real machines, `make bench` two millions.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from old_database import old_database
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from schemas.database.engine import _alembic_configuration, migrate
from schemas.fleet.history import DAY

BEFORE = "0021"
STEPS = [("0022", False), ("0021", True), ("0022", False), ("0024", False), ("0023", True), ("0024", False)]
STEPS += [(BEFORE, True), ("0024", False)]
"""Revisions, one after the other, and whether each is a way down."""

ROWS = 2_000_000 if float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60 else 20_000
AT = 19_700 * DAY
INTEGER_MAX = 2**53 - 1
COLUMNS = (
    "machine_id, sampled_at, stream_number, seq, delay_milliseconds, clock_offset_milliseconds, cpu_percent, "
    "memory_percent, memory_used_bytes, disk_percent, disk_used_bytes, swap_percent, uptime_seconds, load_1m, "
    "network_received_bytes, network_sent_bytes, process_count, temperature_celsius, CAST(extra AS TEXT)"
)
READINGS = [
    "cpu_percent",
    "memory_percent",
    "memory_used_bytes",
    "disk_percent",
    "disk_used_bytes",
    "swap_percent",
    "uptime_seconds",
    "load_1m",
    "network_received_bytes",
    "network_sent_bytes",
    "process_count",
    "temperature_celsius",
]
GIVEN = ["delay_milliseconds", "clock_offset_milliseconds", *READINGS, "extra"]
INSERT = (
    f"INSERT INTO sample (machine_id, sampled_at, stream_number, seq, {', '.join(GIVEN)}) "  # noqa: S608 - names of ours
    f"VALUES (:machine_id, :sampled_at, :stream_number, :seq, :{', :'.join(GIVEN)})"
)


@pytest.fixture
def old(each_database_url: str) -> Iterator[Engine]:
    """A database of the version before, with a machine and, on PostgreSQL, partitions of two days."""
    with old_database(each_database_url, BEFORE) as engine:
        fill(engine)
        yield engine


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO org (id, name, config, created_at) VALUES (1, 'home', '{}', 1)"))
        connection.execute(text("INSERT INTO machine (id, org_id, name, created_at) VALUES (1, 1, 'attic', 1)"))
        if engine.dialect.name == "postgresql":
            for name, first in (("sample_20231209", AT), ("sample_20231210", AT + DAY)):
                part = f"PARTITION OF sample FOR VALUES FROM ({first}) TO ({first + DAY})"
                connection.execute(text(f"CREATE TABLE {name} {part}"))


def sample(sampled_at: int, seq: int, stream_number: int = 1, **given: object) -> dict[str, Any]:
    readings = dict.fromkeys(READINGS, INTEGER_MAX) | {name: 10_000 for name in READINGS if name.endswith("_percent")}
    readings |= {"load_1m": 100_000_000, "temperature_celsius": -27_315}
    arrival = {"delay_milliseconds": 10**12, "clock_offset_milliseconds": 0, "extra": '{"fans": 3}'}
    key = {"machine_id": 1, "sampled_at": sampled_at, "seq": seq, "stream_number": stream_number}
    return {**key, **arrival, **readings, **given}


LIMITS = [
    *(0, 1, 511, 512, 1023, 1024, 2**15 - 2, 2**15 - 1, 2**15, 2**31 - 1, 2**31, 2**31 + 512, 2**31 + 1024),
    *(2**32 - 1, 2**32, 2**40 + 1024, (2**31 - 1) * 1024, 2**41, 2**41 + 1, 2**46 + 2**31 - 1, 2**46 + 2**31),
    *((2**15 - 1) * 2**32 + 2**31 - 1, (2**15 - 1) * 2**32 + 2**31, 2**47 - 1, 2**47, INTEGER_MAX - 511),
    *((127 * 2**32 + 2**31 - 1) * 512, (127 * 2**32 + 2**31) * 512, 127 * 2**41, INTEGER_MAX),
]
"""Readings at the ends of what a column holds."""

COUNTS = [name for name in READINGS if name.endswith(("_bytes", "_seconds", "_count"))]
SMALL = {"load_1m": [0, 2**15 - 1, 2**15, 10**8], "temperature_celsius": [-27_315, -(2**15), 2**15 - 1, 2**15, 100_000]}
FIT = sample(0, 0) | dict.fromkeys(READINGS, 1024) | {"delay_milliseconds": 20, "extra": None}
EXTRAS = ['{"a b": 1.5, "}{ \\"": null}', '{"n":   2}', "{}", '{"' + "x" * 5000 + '": 1}']
SAMPLES = [
    *(sample(AT + seq * 1000, seq, cpu_percent=seq, extra=None) for seq in range(300)),
    *(sample(AT, seq, stream_number) for seq in (1, INTEGER_MAX) for stream_number in (2, 1000)),  # of one moment
    *(sample(AT + DAY + seq, seq, 3, **dict.fromkeys(READINGS)) for seq in range(20)),
    *(sample(at, at % 1000 + 1, 4, clock_offset_milliseconds=-(10**14)) for at in (0, 5, AT - 1, AT + 2 * DAY)),
    *(
        {**FIT, "stream_number": 10 + place, "sampled_at": AT + seq, "seq": seq, name: limit}
        for place, (name, limits) in enumerate([*((name, LIMITS) for name in COUNTS), *SMALL.items()])
        for seq, limit in enumerate([None, *limits])
    ),
    *(
        {**FIT, "stream_number": 30, "sampled_at": AT + seq, "seq": seq, "delay_milliseconds": sign * delay}
        for seq, (sign, delay) in enumerate((sign, delay) for sign in (1, -1) for delay in LIMITS)
    ),
    *(
        {**FIT, **dict.fromkeys(READINGS), "stream_number": 33, "sampled_at": AT, "seq": seq, name: value}
        for seq, (name, value) in enumerate([*((name, INTEGER_MAX) for name in COUNTS), ("load_1m", 10**8)])
    ),
    *({**FIT, "stream_number": 31, "sampled_at": AT, "seq": seq, "extra": extra} for seq, extra in enumerate(EXTRAS)),
    *(
        {**FIT, "stream_number": 32, "sampled_at": AT, "seq": seq, "clock_offset_milliseconds": -1, "extra": extra}
        for seq, extra in enumerate(EXTRAS)
    ),
    sample(INTEGER_MAX, INTEGER_MAX, 4, clock_offset_milliseconds=-(10**14)),
]


def stored(engine: Engine) -> list[tuple[Any, ...]]:
    query = f"SELECT {COLUMNS} FROM sample ORDER BY machine_id, sampled_at, stream_number, seq"  # noqa: S608
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def partitions(engine: Engine) -> list[tuple[str, str]]:
    query = (
        "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def move(engine: Engine, revision: str, *, down: bool = False) -> None:
    with engine.begin() as connection:
        if not down:
            migrate(connection, revision)
            return
        configuration = _alembic_configuration()
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, revision)


def test_no_sample_changes_on_the_way_up_or_down(old: Engine) -> None:
    with old.begin() as connection:
        connection.execute(text(INSERT), SAMPLES)
    before = stored(old)
    assert len(before) == len(SAMPLES)
    days = partitions(old) if old.dialect.name == "postgresql" else []

    for revision, down in STEPS:
        move(old, revision, down=down)
        assert stored(old) == before
        assert not days or partitions(old) == days
        for again in (SAMPLES[7], SAMPLES[301], SAMPLES[-1]):
            with pytest.raises(IntegrityError), old.begin() as connection:  # each sample is stored once
                connection.execute(text(INSERT), again)

    with old.begin() as connection:
        connection.execute(text("DELETE FROM machine"))
    assert stored(old) == []


def test_many_samples_of_real_machines_keep_every_reading_and_take_less(old: Engine) -> None:
    if old.dialect.name == "sqlite":
        pytest.skip("its tables are not changed")
    names = ", ".join(COUNTS)
    readings = ", ".join(f"(n * {7919 + place}) % 30 * 1024" for place, name in enumerate(COUNTS))
    with old.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO sample (machine_id, sampled_at, stream_number, seq, delay_milliseconds, {names}) "  # noqa: S608
                f"SELECT 1, {AT} + n * 10, 1, n, n % 300, {readings} FROM generate_series(1::bigint, {ROWS}) AS n"
            )
        )
    sums = ", ".join(f"sum({name}), max({name})" for name in ("sampled_at", "seq", "delay_milliseconds", *COUNTS))
    content = f"SELECT count(*), {sums} FROM sample"  # noqa: S608 - names of ours
    size = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'sample%' AND relkind = 'r'"
    sizes = []
    with old.connect() as connection:
        before = connection.execute(text(content)).all()
    for revision, down in (("0023", False), ("0024", False), ("0023", True), ("0024", False)):
        began = time.monotonic()
        move(old, revision, down=down)
        took = time.monotonic() - began
        with old.connect() as connection:
            assert connection.execute(text(content)).all() == before
            sizes.append(float(connection.scalar(text(size)) or 0) / ROWS)
        print(
            f"{'down' if down else 'up'} to {revision}: {ROWS:,} rows in {took:.1f} s, then {sizes[-1]:.1f} bytes each"
        )
    assert sizes[1] < sizes[0] - 30
