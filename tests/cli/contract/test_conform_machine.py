"""The machine of a run of `conform agent`: what the program finds in its environment, and what is left at the end."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import RunningBroker
from command_line import refusal
from seeding import Fleet
from servers import free_port
from sites import now
from sqlalchemy import Engine

from broker.access.principals import TableDirectory
from cli.contract.conform_machine import machine_of_run
from ingestor.admin.access import add_org, list_principals
from ingestor.admin.key_changes import add_key, revoke_key
from runtime.settings.broker import BrokerSettings
from runtime.settings.client import ActSettings
from schemas.contract.signing import key_id, new_key, public_key
from schemas.database.queries.machines import list_machines


@pytest.fixture
def settings(database: Engine, tmp_path: Path) -> Iterator[ActSettings]:
    add_org(database, "home", now=now)
    ours = BrokerSettings.model_validate({"data": Path(), "database": "sqlite://", "port": free_port()})
    broker = RunningBroker(ours, TableDirectory(database), refresh_seconds=0.05)
    yield ActSettings.model_validate({"data": tmp_path, "server": f"mqtt://127.0.0.1:{broker.port}", "org": "home"})
    broker.stop()


def test_a_run_has_a_machine_of_its_own_that_is_removed_at_its_end(database: Engine, settings: ActSettings) -> None:
    with machine_of_run(database, settings, None, None) as probe:
        assert [row["machine"] for row in list_machines(database)] == [probe.name]
        assert [row["username"] for row in list_principals(database)] == [f"home.{probe.name}"]
        given = probe.environment
        assert given["DASHFLEET_SERVER"] == settings.server
        assert (given["DASHFLEET_ORG"], given["DASHFLEET_MACHINE"]) == ("home", probe.name)
        assert given["DASHFLEET_USERNAME"] == f"home.{probe.name}"
        assert len(given["DASHFLEET_PASSWORD"]) == 64
        assert "DASHFLEET_CA_FILE" not in given
    assert list_machines(database) == []
    assert list_principals(database) == []
    assert not Path(given["DASHFLEET_STATE"]).parent.exists()


def test_a_machine_that_is_named_keeps_its_secret_and_what_is_set(
    database: Engine, settings: ActSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHFLEET_PASSWORD", "its own")
    monkeypatch.setenv("DASHFLEET_SERVER", "mqtt://elsewhere:1883")
    with machine_of_run(database, settings, "attic", None) as probe:
        assert probe.environment["DASHFLEET_PASSWORD"] == "its own"
        assert probe.environment["DASHFLEET_SERVER"] == "mqtt://elsewhere:1883"
        assert probe.environment["DASHFLEET_USERNAME"] == "home.attic"
        assert list_principals(database) == []


def test_the_agent_trusts_the_keys_that_are_in_force(database: Engine, settings: ActSettings) -> None:
    first, second = new_key(), new_key()
    add_key(database, "home", first, signer=None, name="first", expires_at=None, now=now)
    add_key(database, "home", second, signer=first, name="second", expires_at=None, now=now)
    revoke_key(database, "home", key_id(public_key(second)), signer=first, now=now)
    with machine_of_run(database, settings, "attic", None) as probe:
        known = json.loads(Path(probe.environment["DASHFLEET_KEYS"]).read_text())
    assert [each["public_key"] for each in known] == [public_key(first)]


def test_a_journal_is_lost_with_the_other_files_of_its_database(
    database: Engine, settings: ActSettings, tmp_path: Path
) -> None:
    journal, beside = tmp_path / "journal.db", tmp_path / "journal.db.txt"
    for path in (journal, tmp_path / "journal.db-wal", tmp_path / "journal.db-shm", beside):
        path.write_text("something")
    with machine_of_run(database, settings, "attic", journal) as probe:
        assert probe.lose_journal()
        assert [*tmp_path.glob("journal*")] == [beside]
        assert not probe.lose_journal()


def test_an_agent_that_does_not_use_the_file_has_a_journal_that_is_not_known(
    database: Engine, settings: ActSettings
) -> None:
    with machine_of_run(database, settings, "attic", None) as probe:
        assert Path(probe.environment["DASHFLEET_STATE"]).read_text() == "", "a new machine has an empty journal"
        assert not probe.lose_journal()


def test_beside_an_ingestor_the_command_says_what_to_stop(database: Engine, database_url: str, tmp_path: Path) -> None:
    add_org(database, "home", now=now)
    Fleet(database).beat(now())
    told = refusal("conform", "agent", "--data", str(tmp_path), "--database", database_url, "--", "true")
    assert told.startswith("dashfleet: an ingestor is connected: stop dashfleet up and start only its broker")
    assert list_principals(database) == []


def test_without_a_command_and_a_machine_there_is_nothing_to_check(tmp_path: Path) -> None:
    told = refusal("conform", "agent", "--data", str(tmp_path))
    assert "name the command that starts the agent after --, or its machine with --machine" in told
