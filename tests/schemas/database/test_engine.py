"""Engines and migrations of the fleet database."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, event, inspect, make_url, text
from sqlalchemy.exc import DatabaseError as SqlError

from ingestor.admin.backup import back_up, restore
from runtime.state_directory import StateDirectory
from runtime.urls import sqlite_url
from schemas.contract.messages import VITALS
from schemas.database.engine import (
    PAGE_BYTES,
    DatabaseError,
    newest_revision,
    open_engine,
    require_current,
    shown_url,
    upgrade,
)
from schemas.database.sample_key import IF_NEW
from schemas.database.tables import metadata, sample, state

STATEMENTS = [
    "INSERT INTO org (name, config, created_at) VALUES ('x', '{}', 1)",
    "UPDATE org SET name = 'x'",
    "DELETE FROM org",
    "DROP TABLE org",
    "CREATE TABLE mine (x)",
    "PRAGMA user_version = 7",
    "ATTACH '{path}' AS other",
    "ATTACH 'file:{path}?mode=rw' AS other",
    "VACUUM INTO '{path}.copy'",
]


def _is_of_partitions(name: str | None) -> bool:
    """Whether it is a table behind the view of the samples on PostgreSQL, or an index of them."""
    return name is not None and name.startswith(("sample_", "ix_sample_wrong_clock"))


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "postgresql":
        return str(request.getfixturevalue("postgresql_empty_url"))
    return sqlite_url(tmp_path / "fleet.db")


@pytest.fixture
def reader(database: Engine, database_url: str) -> Iterator[Engine]:
    assert database
    engine = open_engine(database_url, read_only=True)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_the_migrations_make_exactly_the_tables(database: Engine) -> None:
    views = set(inspect(database).get_view_names())
    with database.connect() as connection:
        options = {
            "include_name": lambda name, _type, _parents: not _is_of_partitions(name),
            "include_object": lambda _object, name, _type, _reflected, _other: name not in views,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    found = {name for name in inspect(database).get_table_names() if not _is_of_partitions(name)}
    assert found | (views & {sample.name}) == {*metadata.tables, "alembic_version"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_views_of_the_samples_have_the_columns_of_the_table(database: Engine) -> None:
    columns = {column.name: column.type.compile(database.dialect) for column in sample.columns}
    for view in (sample.name, IF_NEW):
        found = inspect(database).get_columns(view)
        assert {column["name"]: column["type"].compile(database.dialect) for column in found} == columns


def test_the_migrations_give_columns_the_same_defaults(database: Engine, tmp_path: Path) -> None:
    made = open_engine(sqlite_url(tmp_path / "made.db"))
    metadata.create_all(made)
    for name in metadata.tables:
        pragma = text(f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{name}')")  # noqa: S608
        with database.connect() as migrated, made.connect() as direct:
            assert set(migrated.execute(pragma)) == set(direct.execute(pragma))
    made.dispose()


def test_the_vitals_are_columns_in_the_order_of_the_contract() -> None:
    for table in (sample, state):
        assert tuple(column.name for column in table.columns if column.name in VITALS) == VITALS


def test_upgrading_twice_changes_nothing(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text(STATEMENTS[0]))
    upgrade(database)
    require_current(database)

    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM org")) == 1


def test_a_sqlite_file_can_give_back_the_pages_of_deleted_rows(database: Engine) -> None:
    with database.connect() as connection:
        assert connection.scalar(text("PRAGMA auto_vacuum")) == 2


def page_bytes(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("PRAGMA page_size")))


def test_a_new_sqlite_file_has_small_pages_and_is_not_rewritten_to_let_it_shrink(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"))
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement))
    upgrade(engine)
    assert page_bytes(engine) == PAGE_BYTES
    assert "VACUUM" not in statements
    engine.dispose()


def test_a_sqlite_file_keeps_its_pages_when_it_is_migrated_backed_up_and_restored(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "fleet.db")) as older:
        for statement in ("PRAGMA page_size = 4096", "PRAGMA journal_mode = WAL", "CREATE TABLE mine (x)"):
            older.execute(statement)
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"))
    upgrade(engine)
    assert page_bytes(engine) == 4096
    with engine.begin() as connection:
        connection.execute(text(STATEMENTS[0]))
    back_up(engine, tmp_path / "backup.db")
    restored = open_engine(sqlite_url(tmp_path / "restored.db"))
    restore(tmp_path / "backup.db", restored)
    assert page_bytes(restored) == 4096
    upgrade(restored)
    with restored.connect() as connection:
        assert connection.scalar(text("PRAGMA auto_vacuum")) == 2
        assert connection.scalar(text("SELECT count(*) FROM org")) == 1
    restored.dispose()
    engine.dispose()


def test_a_file_is_opened_while_another_writes(database: Engine, database_url: str) -> None:
    other = open_engine(database_url)
    with database.begin() as writing:
        writing.execute(text(STATEMENTS[0]))
        with other.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM org")) == 0
    other.dispose()


def test_a_database_of_this_version_is_current(database: Engine) -> None:
    require_current(database)
    with database.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == newest_revision()


def test_a_newer_database_is_refused_and_left_alone(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseError, match=r"is newer \(revision 9999\) .* install the version that wrote it"):
        upgrade(database)
    with pytest.raises(DatabaseError, match=r"is newer \(revision 9999\) .* install the version that wrote it"):
        require_current(database)
    with database.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_an_empty_database_is_not_current(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    engine = open_engine(sqlite_url(tmp_path / "empty.db"))
    with pytest.raises(DatabaseError, match=r"\(it is at nothing\): start the ingestor of this version first"):
        require_current(engine)
    engine.dispose()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path, read_only: bool) -> None:
    (tmp_path / "fleet.db").write_bytes(b"x" * 5000)
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"), read_only=read_only)

    for use in (require_current, upgrade):
        with pytest.raises(DatabaseError, match=f"^cannot open the database {tmp_path}/fleet.db: file is not"):
            use(engine)
    engine.dispose()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_that_is_not_there_is_refused_with_a_sentence(tmp_path: Path, read_only: bool) -> None:
    engine = open_engine(sqlite_url(tmp_path / "missing.db"), read_only=read_only)
    with pytest.raises(DatabaseError, match=f"^cannot open the database {tmp_path}/missing.db: there is no such file"):
        require_current(engine)
    engine.dispose()
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize(
    "url", ["", "fleet.db", "/var/lib/fleet.db", "sqlite:fleet.db", "postgresql://host:port/fleet", "sqlite://x:y/z"]
)
def test_what_is_no_url_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(DatabaseError, match="must be a URL such as"):
        open_engine(url)


@pytest.mark.parametrize(
    "url",
    ["mysql://anna:made-up@host/fleet", "foo://host", "postgresql+asyncpg://host/fleet", "postgresql+foo://host/fleet",
     "sqlite+foo:///fleet.db"],
)  # fmt: skip
def test_another_database_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(
        DatabaseError, match=r"^the database must be sqlite:///… or postgresql\+psycopg://…, not"
    ) as refused:
        open_engine(url)
    assert "made-up" not in str(refused.value)


def test_postgresql_without_its_driver_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"install dashfleet\[postgresql\]"):
        open_engine("postgresql+psycopg://host/fleet")


def test_a_databases_password_is_not_in_what_is_shown_of_it() -> None:
    engine = open_engine("postgresql+psycopg://anna:made-up@host/fleet?sslpassword=made-up")
    assert shown_url(engine) == "postgresql+psycopg://anna:***@host/fleet?sslpassword=***"


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_read_only_engine_cannot_write_whatever_is_sent_through_it(
    reader: Engine, tmp_path: Path, statement: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with (
        reader.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(SqlError, match=r"readonly|too many attached"),
    ):
        connection.exec_driver_sql(statement.replace("{path}", str(tmp_path / "fleet.db")))

    assert sorted(tmp_path.iterdir()) == before


def test_a_reader_sees_what_the_writer_committed_while_it_goes_on_writing(database: Engine, reader: Engine) -> None:
    with database.begin() as writing:
        writing.execute(text(STATEMENTS[0]))
        with reader.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM org")) == 0
    with reader.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM org")) == 1


def test_what_belongs_to_an_organisation_goes_with_it(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text(STATEMENTS[0]))
        connection.execute(text("INSERT INTO machine (org_id, name, created_at) VALUES (1, 'attic', 1)"))
        connection.execute(text("DELETE FROM org"))
        assert connection.scalar(text("SELECT count(*) FROM machine")) == 0


@pytest.mark.parametrize("name", ["a b", "c#", "what?", "100%25", "ü@:&="])
def test_a_state_directory_of_any_name_will_do(tmp_path: Path, name: str) -> None:
    layout = StateDirectory(tmp_path / name)
    layout.data.mkdir()
    assert make_url(layout.database_url).database == str(layout.data / "dashfleet.db")
    assert make_url(layout.people_url).database == str(layout.data / "people.db")
    engine = open_engine(layout.database_url)
    upgrade(engine)
    reader = open_engine(layout.database_url, read_only=True)
    require_current(reader)

    assert (layout.data / "dashfleet.db").exists()
    engine.dispose()
    reader.dispose()


def test_what_the_last_start_left_is_remembered(tmp_path: Path) -> None:
    layout = StateDirectory(tmp_path)
    layout.remember(server="mqtt://127.0.0.1:6", machine="attic")
    layout.remember(server="mqtt://127.0.0.1:7", machine="attic")

    assert (StateDirectory(tmp_path).server, StateDirectory(tmp_path).machine) == ("mqtt://127.0.0.1:7", "attic")


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    layout = StateDirectory(tmp_path)
    layout.remember(server="mqtt://127.0.0.1:7", machine="attic")
    before = written(tmp_path / "up.json")
    layout.remember(server="mqtt://127.0.0.1:7", machine="attic")

    assert written(tmp_path / "up.json") == before


def written(path: Path) -> tuple[int, int, int]:
    """Return what a write changes; another reader may change the access time."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


@pytest.mark.parametrize("content", [None, b"", b"[]", b"7", b"\xff", b'{"server":'])
def test_a_damaged_memory_is_as_good_as_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "up.json").write_bytes(content)

    assert StateDirectory(tmp_path).server == "mqtt://127.0.0.1:1883"
    assert StateDirectory(tmp_path).machine is None
