"""The ingestor's SQL, the same on SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from servers import postgresql
from sqlalchemy import Engine, select

from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.queries.machines import list_machines


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'fleet.db'}"
        return
    with postgresql() as url:
        yield url


def test_a_machines_whole_life_is_stored_and_read_back(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(
        speaker.status(), speaker.info(labels={"room": "attic"}), speaker.telemetry(1), speaker.backfill(2, 4)
    )
    bench.step()
    bench.publish(speaker.backfill(3, 4), speaker.status("stopped"))
    bench.step()
    row = next(row for row in list_machines(fleet) if row["org"] == "home")
    assert (row["presence"], row["reason"], row["hostname"]) == ("offline", "stopped", "attic.example")
    assert row["ledger"]["stored"] == 4
    assert row["ledger"]["duplicate"] == 1
    with fleet.connect() as connection:
        assert sorted(connection.scalars(select(tables.sample.c.seq))) == [1, 2, 3, 4]


def test_text_that_a_database_cannot_hold_is_set_aside_all_the_same(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.info(hostname="nul\0byte"), speaker.telemetry(1))
    bench.step()
    with fleet.connect() as connection:
        assert connection.scalar(select(tables.sample.c.seq)) == 1


def test_the_same_migrations_run_on_both_and_a_second_run_changes_nothing(fleet: Engine, clock: Clock) -> None:
    upgrade(fleet)
    with fleet.connect() as connection:
        assert connection.scalar(select(tables.org.c.created_at)) == clock.now()


def test_a_read_only_engine_cannot_write(fleet: Engine) -> None:
    url = fleet.url.render_as_string(hide_password=False)
    reader = open_engine(url, read_only=True)
    with reader.connect() as connection, pytest.raises(Exception, match=r"read-?only"):
        connection.execute(tables.org.delete())
    reader.dispose()
