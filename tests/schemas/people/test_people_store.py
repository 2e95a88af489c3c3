"""Opening the people's database: by several processes at once, and as an older version left it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Engine, create_engine, insert, inspect, select, text

from dashboard.auth import auth_database
from dashboard.auth.auth_database import open_auth_database
from runtime.urls import sqlite_url
from schemas.database.engine import DatabaseError
from schemas.people import notification_tables
from schemas.people.deliveries import record_test
from schemas.people.destinations import add_destination, list_destinations, set_owner_preferences
from schemas.people.message_templates import set_template
from schemas.people.people_store import open_people_store, remove_org_records
from schemas.people.report_schedules import set_report
from schemas.people.routing import Preferences
from schemas.people.secret_box import SecretBox

TABLES = {*auth_database.metadata.tables, *notification_tables.metadata.tables}
SECOND_FACTORS = ("authenticator", "recovery_code", "passkey", "passkey_challenge", "pending_sign_in")


def previous_release(url: str) -> None:
    """Make the database as the release before notifications and second factors did, with a user."""
    engine = create_engine(url)
    known = [table for name, table in auth_database.metadata.tables.items() if name not in SECOND_FACTORS]
    auth_database.metadata.create_all(engine, tables=known)
    row = {"name": "ada", "password_hash": "x", "role": "admin", "org": "home", "created_at": 1}
    with engine.begin() as connection:
        connection.execute(insert(auth_database.user).values(row))
    engine.dispose()


def test_processes_that_start_at_once_all_open_a_database_that_lacks_tables(each_database_url: str) -> None:
    previous_release(each_database_url)
    barrier = Barrier(8)

    def opened(open_: Callable[[str], Engine]) -> set[str]:
        barrier.wait(10)
        engine = open_(each_database_url)
        try:
            return set(inspect(engine).get_table_names())
        finally:
            engine.dispose()

    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(opened, [open_auth_database, open_people_store] * 4):
            assert set(notification_tables.metadata.tables) <= found
    engine = open_auth_database(each_database_url)
    assert set(inspect(engine).get_table_names()) >= TABLES
    with engine.connect() as connection:
        assert connection.scalars(select(auth_database.user.c.name)).all() == ["ada"]
    engine.dispose()


def test_a_column_that_an_older_version_did_not_have_is_added_and_its_rows_stay(each_database_url: str) -> None:
    engine = open_people_store(each_database_url)
    row: dict[str, object] = dict.fromkeys(("owner", "service", "url_sealed", "shown", "created_by"), "")
    row = {**row, "org": "acme", "name": "hook", "allow_private": False, "preferences": {}, "routes": []}
    with engine.begin() as connection:
        connection.execute(insert(notification_tables.destination).values(**row, created_at=1, routed_at=5))
        connection.execute(text("ALTER TABLE destination DROP COLUMN routed_at"))
    engine.dispose()
    engine = open_people_store(each_database_url)
    (found,) = list_destinations(engine, "acme")
    assert (found.name, found.routed_at) == ("hook", 0)
    engine.dispose()


def test_a_database_that_is_complete_opens_while_another_process_writes(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "people.db")
    engine = open_auth_database(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        other = open_people_store(url)
        assert list_destinations(other) == []
        other.dispose()
    engine.dispose()


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "people.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DatabaseError, match="cannot open the database of users"):
        open_people_store(sqlite_url(tmp_path / "people.db"))


def test_an_organisation_that_is_removed_leaves_nothing_and_others_keep_theirs(
    each_database_url: str, tmp_path: Path
) -> None:
    engine, box = open_people_store(each_database_url), SecretBox.load(tmp_path / "key")
    for org in ("acme", "other"):
        to = add_destination(engine, box, org, "mail", "mailto://a:b@example.org", by="ada", now=0)
        set_report(engine, to, "week", 8)
        set_template(engine, org, "en", "{{ count }}", "")
        set_owner_preferences(engine, org, "ada", Preferences(language="fr"))
        record_test(engine, to, error="", answer="", title="Test", now=0)
    remove_org_records(engine, "acme")
    with engine.connect() as connection:
        for table in notification_tables.metadata.tables.values():
            assert "acme" not in connection.scalars(select(table.c.org)).all()
        assert connection.scalars(select(notification_tables.delivery.c.org)).all() == ["other"]
    assert [each.org for each in list_destinations(engine)] == ["other"]
    engine.dispose()
