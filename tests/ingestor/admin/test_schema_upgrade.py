"""A database of an older version is migrated only after a backup that the older version can restore."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from old_database import old_database
from sqlalchemy import Engine, inspect, text

from ingestor.admin import schema_upgrade
from ingestor.admin.schema_upgrade import BACKUPS, BACKUPS_KEPT, upgrade_after_backup
from runtime.errors import UserError
from runtime.urls import sqlite_url
from schemas.database.engine import migrate, newest_revision, open_engine, present_revision, upgrade

OLD = "0009"


@pytest.fixture
def old(each_database_url: str) -> Iterator[Engine]:
    """A database of the first version, with two organisations."""
    insert = text("INSERT INTO org (name, config, created_at) VALUES (:name, '{\"v\": 1}', 1)")
    with old_database(each_database_url, OLD) as engine:
        with engine.begin() as connection:
            connection.execute(insert, [{"name": name} for name in ("home", "acme")])
        yield engine


def orgs(engine: Engine) -> list[tuple[str, object]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT name, config FROM org ORDER BY name"))]


def test_the_backup_has_the_tables_of_the_old_version_and_the_database_those_of_the_new(
    old: Engine, tmp_path: Path, clock: Clock
) -> None:
    file = upgrade_after_backup(old, tmp_path, clock)

    assert file is not None
    assert present_revision(old) == newest_revision()
    assert inspect(old).has_table("silence")
    saved = open_engine(sqlite_url(file), read_only=True)
    assert present_revision(saved) == OLD
    assert not inspect(saved).has_table("silence")
    assert [name for name, _ in orgs(saved)] == ["acme", "home"]
    saved.dispose()
    assert os.name == "nt" or file.stat().st_mode & 0o077 == 0


def test_nothing_is_migrated_without_the_backup(
    old: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise UserError("cannot back up: No space left on device")

    monkeypatch.setattr(schema_upgrade, "back_up", full)
    with pytest.raises(UserError, match=r"was not migrated, as it cannot be backed up before .*No space left"):
        upgrade_after_backup(old, tmp_path, clock)

    assert present_revision(old) == OLD


def test_a_backup_is_made_only_before_a_migration(database: Engine, tmp_path: Path, clock: Clock) -> None:
    assert upgrade_after_backup(database, tmp_path, clock) is None
    new = open_engine(sqlite_url(tmp_path / "new.db"))
    assert upgrade_after_backup(new, tmp_path, clock) is None
    new.dispose()

    assert not (tmp_path / BACKUPS).exists()


def test_the_owner_can_do_without(tmp_path: Path, clock: Clock) -> None:
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"))
    with engine.begin() as connection:
        migrate(connection, OLD)

    assert upgrade_after_backup(engine, tmp_path, clock, backup=False) is None
    assert present_revision(engine) == newest_revision()
    engine.dispose()


def test_only_the_last_backups_are_kept(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / BACKUPS).mkdir()
    for age in range(4):
        path = tmp_path / BACKUPS / f"before-{age}.db"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"))
    with engine.begin() as connection:
        migrate(connection, OLD)
    file = upgrade_after_backup(engine, tmp_path, clock)
    engine.dispose()

    assert file is not None
    assert {path.name for path in (tmp_path / BACKUPS).iterdir()} == {file.name, "before-0.db"}
    assert BACKUPS_KEPT == 2


def test_a_restored_backup_of_the_old_version_is_migrated_like_it(tmp_path: Path, clock: Clock) -> None:
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"))
    with engine.begin() as connection:
        migrate(connection, OLD)
    file = upgrade_after_backup(engine, tmp_path, clock)
    engine.dispose()
    assert file is not None
    restored = open_engine(sqlite_url(file))
    upgrade(restored)

    assert present_revision(restored) == newest_revision()
    restored.dispose()
