"""Rows for the driver: what is stored is what was meant, column by column."""

import random
from typing import Any

import pytest
from sqlalchemy import Engine, select
from telemetry import telemetry

from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.machine import Estimate, Latest, Machine, Stream
from ingestor.domain.presence import Presence, PresenceState
from ingestor.storage.store import Store
from schemas.contract.messages import VITALS
from schemas.database import tables
from schemas.fleet.health import Health, HealthStatus
from schemas.fleet.ranges import Ranges

AT = 1_700_000_000_000


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.mark.parametrize(
    ("extra", "presence"), [({}, Presence.STALE), ({"fan_rpm": 1180.5, "queue_bytes": None}, Presence.ONLINE)]
)
def test_every_column_holds_what_was_meant_for_it(
    database: Engine, extra: dict[str, float | None], presence: Presence
) -> None:
    with database.begin() as connection:
        connection.execute(tables.org.insert().values(id=1, name="home", config={}, created_at=1))
        connection.execute(tables.machine.insert().values(id=7, org_id=1, name="attic", created_at=1))
    sample = telemetry(3, sampled_at=AT, stream="00000000000000aa", chance=random.Random(1))  # noqa: S311
    sample = sample.model_copy(update={"extra": extra})
    state = PresenceState(presence, "silent", 2, False, True, 4, 5.5, 6)
    latest = Latest(AT, sample.vitals, extra, Health(90, HealthStatus.OK))
    machine = Machine(7, "home", "attic", state, latest, Estimate(8))
    stream = Stream("00000000000000aa", 9, 10, 11, 12, 13, 14, 15, Ranges([(1, 3)]), Estimate(16), Ranges([(4, 5)]))
    arrived = Arrived(machine, stream, sample, AT + 40, 17)
    batch = Batch(samples=[arrived], machines={7: machine}, streams={(7, stream.name): (machine, stream)})
    for _ in range(2):  # inserted, then overwritten
        Store(database, name="ingestor", dead_letter_max=1).write(batch)
    readings = {name: getattr(sample.vitals, name) for name in VITALS}
    key = {"machine_id": 7, "sampled_at": AT, "stream_number": 9, "seq": 3}
    arrival = {"delay_milliseconds": 40, "clock_offset_milliseconds": 17}
    assert only_row(database, "sample") == {**key, **arrival, **readings, "extra": extra or None}
    found = only_row(database, "state")
    said = {"presence": presence.value, "reason": "silent", "since_at": 2, "verified": False, "connected": True}
    heard = {"session": 4, "interval_seconds": 5.5, "last_seen_at": 6, "clock_offset_milliseconds": 8}
    health = {"health_score": 90, "health_status": "ok"}
    expected = {"machine_id": 7, **said, **heard, "sampled_at": AT, **readings, "extra": extra, **health}
    assert {name: found[name] for name in expected} == expected
    assert only_row(database, "stream") == {
        "machine_id": 7,
        "name": "00000000000000aa",
        "number": 9,
        "created_at": 10,
        "highest_seq": 11,
        "oldest_seq": 12,
        "dropped": 13,
        "late": 14,
        "duplicate": 15,
        "stored": "1-3",
        "rejected": "4-5",
        "booted_at": 16,
    }


def only_row(database: Engine, name: str) -> dict[str, Any]:
    """The one row of a table."""
    with database.connect() as connection:
        return dict(connection.execute(select(tables.metadata.tables[name])).mappings().one())
