"""The credential of a run: its own, and gone afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import RunningBroker
from servers import free_port
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from broker.access.principals import TableDirectory
from cli.contract.temporary_principal import connected_as, unique_name
from ingestor.admin.access import list_principals
from runtime.errors import UserError
from runtime.settings.broker import BrokerSettings
from runtime.settings.client import WatchSettings


@pytest.fixture
def broker(database: Engine) -> Iterator[RunningBroker]:
    settings = BrokerSettings.model_validate({"data": Path(), "database": "sqlite://", "port": free_port()})
    broker = RunningBroker(settings, TableDirectory(database), refresh_seconds=0.05)
    yield broker
    broker.stop()


@pytest.fixture
def settings(broker: RunningBroker, tmp_path: Path) -> WatchSettings:
    return WatchSettings.model_validate({"data": tmp_path, "server": f"mqtt://127.0.0.1:{broker.port}"})


def ingestor() -> Principal:
    return Principal(Role.INGESTOR, "", unique_name("conform"))


def test_two_runs_at_once_do_not_end_each_other(database: Engine, settings: WatchSettings) -> None:
    with connected_as(database, settings, ingestor()) as first, connected_as(database, settings, ingestor()) as second:
        for transport in (first, second):
            transport.ping()
            assert [*transport.receive(10, 0.2)] == []
            assert transport.connected
    assert list_principals(database) == []


def test_a_run_that_fails_removes_its_credential_too(database: Engine, settings: WatchSettings) -> None:
    with pytest.raises(UserError), connected_as(database, settings, ingestor()):
        raise UserError("something else")
    assert list_principals(database) == []
