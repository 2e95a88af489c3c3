"""Who has a credential, in memory and in the database."""

import logging

import pytest
from sqlalchemy import Engine, event

from broker.access.credentials import hash_secret, verify_secret
from broker.access.policy import Principal, Role
from broker.access.principals import CredentialEntry, MemoryDirectory, TableDirectory
from runtime.urls import sqlite_url
from schemas.database.engine import open_engine, upgrade
from schemas.database.tables import principal as table

ATTIC = Principal(Role.MACHINE, "home", "attic")
ANN = Principal(Role.OPERATOR, "home", "ann")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")


def add(database: Engine, principal: Principal, **columns: object) -> None:
    row = {
        "username": principal.username,
        "role": principal.role,
        "org": principal.org,
        "name": principal.name,
        "secret_hash": hash_secret("made-up"),
        "created_at": 1,
        **columns,
    }
    with database.begin() as connection:
        connection.execute(table.insert().values(row))


def change(database: Engine, principal: Principal, **columns: object) -> None:
    with database.begin() as connection:
        connection.execute(table.update().where(table.c.username == principal.username).values(columns))


def found(directory: TableDirectory | MemoryDirectory, principal: Principal) -> Principal | None:
    entry = directory.find(principal.username)
    return entry.principal if entry is not None else None


@pytest.fixture
def directory(database: Engine) -> TableDirectory:
    for principal in (ATTIC, ANN, INGESTOR):
        add(database, principal)
    directory = TableDirectory(database)
    directory.refresh()
    return directory


def test_every_principal_of_the_table_is_found_by_its_username(directory: TableDirectory) -> None:
    assert [found(directory, principal) for principal in (ATTIC, ANN, INGESTOR)] == [ATTIC, ANN, INGESTOR]


def test_an_entry_carries_the_record_of_the_secret(directory: TableDirectory) -> None:
    entry = directory.find("home.attic")
    assert entry is not None
    assert verify_secret("made-up", entry.secret_hash)


def test_nobody_else_is_found(directory: TableDirectory) -> None:
    assert [directory.find(name) for name in ("", "home.cellar", "attic", "HOME.ATTIC", "home.attic ", "\0")] == [
        None
    ] * 6


def test_before_the_first_refresh_nobody_is_found(database: Engine) -> None:
    add(database, ATTIC)
    assert found(TableDirectory(database), ATTIC) is None


def test_a_refresh_without_changes_ends_nobody_and_asks_one_question(
    directory: TableDirectory, database: Engine
) -> None:
    asked: list[str] = []
    event.listen(database, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
    before = directory.find("home.attic")
    assert directory.refresh() == frozenset()
    assert directory.find("home.attic") is before
    assert len(asked) == 1


def test_a_new_principal_is_found_after_a_refresh_and_nobody_has_to_leave(
    directory: TableDirectory, database: Engine
) -> None:
    cellar = Principal(Role.MACHINE, "home", "cellar")
    add(database, cellar)
    assert directory.refresh() == frozenset()
    assert found(directory, cellar) == cellar


def test_who_is_revoked_is_not_found_and_has_to_leave(directory: TableDirectory, database: Engine) -> None:
    change(database, ATTIC, revoked_at=2)
    assert directory.refresh() == {"home.attic"}
    assert found(directory, ATTIC) is None
    assert found(directory, ANN) == ANN
    assert directory.refresh() == frozenset()


def test_whose_row_is_gone_is_not_found_and_has_to_leave(directory: TableDirectory, database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(table.delete().where(table.c.username == "home.attic"))
    assert directory.refresh() == {"home.attic"}
    assert found(directory, ATTIC) is None


def test_who_gets_another_secret_has_to_leave_and_may_come_back_with_it(
    directory: TableDirectory, database: Engine
) -> None:
    change(database, ATTIC, secret_hash=hash_secret("another"))
    assert directory.refresh() == {"home.attic"}
    entry = directory.find("home.attic")
    assert entry is not None
    assert verify_secret("another", entry.secret_hash)


def test_who_gets_another_role_has_to_leave(directory: TableDirectory, database: Engine) -> None:
    change(database, ANN, role=Role.READER)
    assert directory.refresh() == {"home._ann"}
    assert found(directory, ANN) == Principal(Role.READER, "home", "ann")


def test_who_was_revoked_and_returns_is_found_again(directory: TableDirectory, database: Engine) -> None:
    change(database, ATTIC, revoked_at=2)
    directory.refresh()
    change(database, ATTIC, revoked_at=None)
    assert directory.refresh() == frozenset()
    assert found(directory, ATTIC) == ATTIC


@pytest.mark.parametrize(
    "columns", [{"role": "emperor"}, {"username": "home.cellar"}, {"role": "reader"}, {"org": "work"}, {"org": ""}]
)
def test_a_row_that_contradicts_itself_lets_nobody_in_and_is_told_once(
    database: Engine, caplog: pytest.LogCaptureFixture, columns: dict[str, str]
) -> None:
    add(database, ATTIC, **columns)
    directory = TableDirectory(database)
    for _ in range(3):
        directory.refresh()
    assert directory.find(columns.get("username", "home.attic")) is None
    assert len(caplog.records) == 1
    assert columns.get("username", "home.attic") in caplog.text


def test_while_the_database_is_away_those_known_stay_and_it_is_told_once(
    directory: TableDirectory, database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    _rename(database, "principal", "away")
    assert [directory.refresh() for _ in range(3)] == [frozenset()] * 3
    assert found(directory, ATTIC) == ATTIC
    assert len(caplog.records) == 1
    _rename(database, "away", "principal")
    change(database, ATTIC, revoked_at=2)
    assert directory.refresh() == {"home.attic"}


def test_an_absence_that_follows_another_is_told_again(
    directory: TableDirectory, database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        _rename(database, "principal", "away")
        directory.refresh()
        _rename(database, "away", "principal")
        directory.refresh()
    assert len(caplog.records) == 2


def test_it_starts_before_the_database_does(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    engine = open_engine(database_url)
    directory = TableDirectory(engine)
    assert directory.refresh() == frozenset()
    upgrade(engine)
    add(engine, ATTIC)
    directory.refresh()
    assert found(directory, ATTIC) == ATTIC
    engine.dispose()


def test_a_database_that_cannot_be_opened_is_survived(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = open_engine(sqlite_url(tmp_path_factory.mktemp("there") / "is" / "none" / "here.db"))
    assert TableDirectory(engine).refresh() == frozenset()


def test_the_directory_in_memory_tells_the_same() -> None:
    directory = MemoryDirectory({ATTIC: "made-up", ANN: "made-up"})
    directory.refresh()
    directory.add(INGESTOR, "made-up")
    assert directory.refresh() == frozenset()
    directory.add(ATTIC, "another")
    directory.revoke(ANN.username)
    assert directory.refresh() == {"home.attic", "home._ann"}
    assert directory.refresh() == frozenset()
    assert [found(directory, principal) for principal in (ATTIC, ANN, INGESTOR)] == [ATTIC, None, INGESTOR]


def test_the_directory_in_memory_stores_records_not_secrets() -> None:
    entry = MemoryDirectory({ATTIC: "made-up"}).find("home.attic")
    assert isinstance(entry, CredentialEntry)
    assert "made-up" not in repr(entry)
    assert verify_secret("made-up", entry.secret_hash)


def _rename(database: Engine, old: str, new: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")
