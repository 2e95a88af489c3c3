"""Heartbeats of ingestors, as a health check reads them."""

import pytest
from seeding import Fleet
from sqlalchemy import Engine

from schemas.database import tables
from schemas.database.queries.heartbeat import Heartbeat, find_trouble, latest_heartbeat

NOW = 1_000_000


@pytest.mark.parametrize(
    ("beats", "said"),
    [
        ([], "no ingestor has run yet"),
        ([(NOW - 10_000, True)], ""),
        ([(NOW - 10_001, True)], "no heartbeat from any ingestor for 10 s"),
        ([(NOW - 60_000, True), (NOW - 30_000, False)], "no heartbeat from any ingestor for 30 s"),
        ([(NOW, False)], "the ingestor is not connected to the broker"),
        ([(NOW - 60_000, True), (NOW, False)], "the ingestor is not connected to the broker"),
        ([(NOW - 60_000, False), (NOW, True)], ""),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(database: Engine, beats: list[tuple[int, bool]], said: str) -> None:
    with database.begin() as connection:
        for number, (beat_at, connected) in enumerate(beats):
            row = {
                "name": str(number),
                "started_at": 1,
                "beat_at": beat_at,
                "broker_connected": connected,
                "counters": {},
            }
            connection.execute(tables.ingestor.insert().values(row))
    assert find_trouble(database, now=NOW) == said


def test_the_ingestors_beat_is_its_last(fleet: Fleet, reader: Engine) -> None:
    assert latest_heartbeat(reader) is None
    fleet.beat(NOW, broker_connected=False)
    assert latest_heartbeat(reader) == Heartbeat(NOW, broker_connected=False)
