"""A backup is one moment of the fleet, in a file that either database takes back."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from seeding import Fleet
from sqlalchemy import Engine, create_engine, func, insert, select, text
from waiting import wait_until

from ingestor.admin.backup import back_up, look_into, restore
from ingestor.history.partitions import partitions
from runtime.errors import UserError
from runtime.urls import sqlite_url
from schemas.contract.org_config import OrgConfig
from schemas.database import engine as database_engine
from schemas.database import tables
from schemas.database.engine import newest_revision, open_engine, require_current, upgrade
from schemas.database.queries.machines import list_machines
from schemas.fleet.history import DAY

NEXT_MIGRATION = """
from alembic import op

revision = "9998"
down_revision = "{older}"


def upgrade():
    op.execute("CREATE TABLE later (x INTEGER)")
"""


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    fleet = Fleet(database)
    for name in ("attic", "cellar"):
        key = fleet.machine(name, labels={"site": "a\N{SNOWMAN}'\"\\"})
        fleet.samples(key, [fleet.now - 1000 * i for i in range(60)], cpu_percent=12.5, extra={"fan_rpm": 900.0})
        fleet.hours(key, 3)
    return fleet


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def empty_postgresql(url: str) -> Iterator[str]:
    """A database of its own on the server of this URL."""
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    name = "restored"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def rows(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is stored."""
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in tables.metadata.sorted_tables
        }


def test_a_backup_restored_into_a_new_file_holds_the_same_rows(fleet: Fleet, tmp_path: Path) -> None:
    file, back = tmp_path / "fleet.backup", tmp_path / "back.db"
    contents = back_up(fleet.engine, file)
    assert (contents.machines, contents.samples) == (2, 120)
    assert file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir() if "backup" in path.name} == {"fleet.backup"}
    with opened(sqlite_url(back)) as engine:
        assert restore(file, engine).samples == 120
        require_current(engine)
        assert rows(engine) == rows(fleet.engine)
        assert list_machines(engine) == list_machines(fleet.engine)
    assert back.stat().st_mode & 0o777 == 0o600


def test_a_backup_restored_into_postgresql_goes_on_with_the_next_numbers(
    fleet: Fleet, tmp_path: Path, postgresql_url: str
) -> None:
    file = tmp_path / "fleet.backup"
    fleet.samples(fleet.machine("mill"), [5, 10**15], cpu_percent=1.0)  # clocks of 1970, and of the year 33658
    back_up(fleet.engine, file)
    with empty_postgresql(postgresql_url) as url, opened(url) as engine:
        restore(file, engine)
        require_current(engine)
        with engine.connect() as connection:
            assert fleet.now // DAY * DAY in [part.first for part in partitions(connection)]
            assert connection.scalar(text("SELECT sampled_at FROM sample_other")) == 10**15
        assert rows(engine) == rows(fleet.engine)
        with engine.begin() as connection:
            new = connection.execute(
                insert(tables.org).values(name="new", config=OrgConfig().model_dump(mode="json"), created_at=1)
            )
            highest = connection.scalar(select(func.max(tables.org.c.id)))
            assert new.inserted_primary_key is not None
            assert new.inserted_primary_key[0] == highest
        with pytest.raises(UserError, match="not empty"):
            restore(file, engine)


def test_a_backup_is_one_moment_while_somebody_writes(database: Engine, tmp_path: Path) -> None:
    fleet = Fleet(database)
    machine = fleet.machine("attic")
    written, over = 0, threading.Event()

    def write() -> None:
        nonlocal written
        while not over.is_set():
            with database.begin() as connection:  # both, or neither
                for table in (tables.transition, tables.dead_letter):
                    connection.execute(insert(table), [_row(table, machine, written)])
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: written > 5, what="some rows")
        for i in range(3):
            before = written
            back_up(database, tmp_path / f"{i}.backup")
            with opened(sqlite_url(tmp_path / f"{i}.backup")) as engine, engine.connect() as connection:
                found = [
                    connection.scalar(select(func.count()).select_from(table))
                    for table in (tables.transition, tables.dead_letter)
                ]
            assert found[0] == found[1]
            assert found[0] is not None
            assert found[0] >= before
        during = written
        wait_until(lambda: written > during, what="that writing goes on")
    finally:
        over.set()
        writer.join()


def _row(table: Any, machine: int, number: int) -> dict[str, Any]:  # noqa: ANN401
    if table is tables.transition:
        return {"machine_id": machine, "at": number, "before": "a", "after": "b", "reason": "", "session": 1}
    return {"received_at": number, "topic": "", "reason": "", "detail": "", "size_bytes": 0, "payload_start": ""}


def test_nothing_is_overwritten(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "fleet.backup"
    file.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        back_up(fleet.engine, file)
    assert file.read_text() == "mine"
    other = tmp_path / "other.backup"
    back_up(fleet.engine, other)
    with pytest.raises(UserError, match=r"not empty|exists already"):
        restore(other, fleet.engine)
    with opened(sqlite_url(file)) as foreign, pytest.raises(UserError, match="exists already"):
        restore(other, foreign)  # a file that is not ours at all
    assert file.read_text() == "mine"


def test_what_cannot_be_written_is_said_in_a_sentence_and_leaves_nothing(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot back up to .*No such file or directory"):
        back_up(fleet.engine, tmp_path / "away" / "fleet.backup")


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\0" * 5000])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(UserError, match="is no backup of DashFleet, or it is damaged"):
        look_into(file)
    with opened(sqlite_url(tmp_path / "new.db")) as engine, pytest.raises(UserError):
        restore(file, engine)
    assert not (tmp_path / "new.db").exists()


def test_a_backup_of_an_older_version_is_brought_up_and_of_a_newer_one_refused(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "fleet.backup"
    back_up(fleet.engine, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with opened(sqlite_url(tmp_path / "new.db")) as engine, pytest.raises(UserError, match="newer version"):
        restore(file, engine)
    assert not (tmp_path / "new.db").exists()


def test_a_backup_of_an_older_version_is_brought_up_to_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, older = tmp_path / "old.backup", newest_revision()
    engine = open_engine(sqlite_url(old))
    upgrade(engine)
    engine.dispose()
    migrations = shutil.copytree(Path(str(database_engine.__file__)).parent / "migrations", tmp_path / "migrations")
    (migrations / "versions" / "9998_next.py").write_text(NEXT_MIGRATION.format(older=older))
    monkeypatch.setattr(database_engine, "_MIGRATIONS", migrations)
    with opened(sqlite_url(tmp_path / "new.db")) as engine:
        restore(old, engine)
        require_current(engine)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == newest_revision() == "9998"
            assert connection.scalar(text("SELECT count(*) FROM later")) == 0
