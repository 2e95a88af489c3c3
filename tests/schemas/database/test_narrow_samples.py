"""The migration that makes samples narrower, in both directions, over a filled table."""

from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from old_database import old_database
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from schemas.database.engine import _alembic_configuration, migrate
from schemas.fleet.history import DAY

BEFORE, AFTER = "0021", "0022"
AT = 19_700 * DAY
INTEGER_MAX = 2**53 - 1
COLUMNS = (
    "machine_id, sampled_at, stream_number, seq, delay_milliseconds, clock_offset_milliseconds, cpu_percent, "
    "memory_percent, memory_used_bytes, disk_percent, disk_used_bytes, swap_percent, uptime_seconds, load_1m, "
    "network_received_bytes, network_sent_bytes, process_count, temperature_celsius, CAST(extra AS TEXT)"
)
INSERT = (
    "INSERT INTO sample (machine_id, sampled_at, stream_number, seq, delay_milliseconds, clock_offset_milliseconds, "
    "cpu_percent, memory_used_bytes, load_1m, temperature_celsius, extra) VALUES (:machine_id, :sampled_at, "
    ":stream_number, :seq, :delay, :offset, :cpu, :memory, :load, :temperature, :extra)"
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
    readings = {"cpu": 10_000, "memory": INTEGER_MAX, "load": 100_000_000, "temperature": -27_315}
    return {
        "machine_id": 1,
        "sampled_at": sampled_at,
        "seq": seq,
        "stream_number": stream_number,
        "delay": 10**12,
        "offset": 0,
        **readings,
        "extra": '{"fans": 3}',
        **given,
    }


SAMPLES = [
    *(sample(AT + seq * 1000, seq, cpu=seq, extra=None) for seq in range(300)),
    *(sample(AT, seq, stream_number) for seq in (1, INTEGER_MAX) for stream_number in (2, 1000)),  # of one moment
    *(sample(AT + DAY + seq, seq, 3, cpu=None, memory=None, load=None, temperature=None) for seq in range(20)),
    *(sample(at, at % 1000 + 1, 4, offset=-(10**14)) for at in (0, 5, AT - 1, AT + 2 * DAY, INTEGER_MAX)),
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

    for revision, down in ((AFTER, False), (BEFORE, True), (AFTER, False)):
        move(old, revision, down=down)
        assert stored(old) == before
        assert not days or partitions(old) == days
        for again in (SAMPLES[7], SAMPLES[301], SAMPLES[-1]):
            with pytest.raises(IntegrityError), old.begin() as connection:  # each sample is stored once
                connection.execute(text(INSERT), again)

    with old.begin() as connection:
        connection.execute(text("DELETE FROM machine"))
    assert stored(old) == []
