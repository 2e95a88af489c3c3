"""The credential of a run: its own, and gone afterwards."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import RunningBroker
from servers import free_port
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from broker.access.principals import TableDirectory
from cli.contract.conform_credentials import broker_credentials
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


def be_ended(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    threading.Event().wait(30)  # the signal ends it


def ingestor() -> Principal:
    return Principal(Role.INGESTOR, "", unique_name("conform"))


def test_two_runs_at_once_do_not_end_each_other(database: Engine, settings: WatchSettings) -> None:
    with connected_as(database, settings, ingestor()) as first, connected_as(database, settings, ingestor()) as second:
        for transport in (first, second):
            transport.ping()
            assert [*transport.receive(10, 0.2)] == []
            assert transport.connected
    assert list_principals(database) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_broker_run_that_is_ended_removes_its_organisations_too(number: signal.Signals, database: Engine) -> None:
    before = signal.signal(number, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt), broker_credentials(database):
            be_ended(number)
    finally:
        signal.signal(number, before)
    found = list_principals(database)
    assert found
    assert all(each["revoked"] for each in found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_removes_its_credential_too_also_when_its_terminal_is_closed(
    number: signal.Signals, database: Engine, settings: WatchSettings
) -> None:
    before = signal.signal(number, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt), connected_as(database, settings, ingestor()):
            be_ended(number)
        assert list_principals(database) == []
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        with connected_as(database, settings, ingestor()):
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_run_that_fails_removes_its_credential_too(database: Engine, settings: WatchSettings) -> None:
    with pytest.raises(UserError), connected_as(database, settings, ingestor()):
        raise UserError("something else")
    assert list_principals(database) == []
