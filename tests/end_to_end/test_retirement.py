"""A machine that is uninstalled with --retire, on each broker: it is told, and its secret is refused from then on."""

from pathlib import Path

import pytest
from brokers import broker_of_kind
from sites import now, site
from sqlalchemy import Engine
from waiting import wait_until

from agent.installation.retirement import Retirement, open_transport
from broker.access.policy import Principal, Role
from broker.access.principals import TableDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Disconnected, Message
from ingestor.admin.access import add_org, add_principal, list_principals
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.database.queries.machines import list_machines

SECRET = "0123456789abcdef" * 4
STATUS = topics.STATUS.at(org="home", machine="attic")


def settings(data: Path, port: int) -> AgentSettings:
    given = {"data": data, "org": "home", "machine": "attic", "server": f"mqtt://127.0.0.1:{port}", "password": SECRET}
    return AgentSettings.model_validate(given)


def refusal(transport: Mqtt) -> str:
    return next(
        (each.reason for each in transport.receive(10, 0.1) if isinstance(each, Disconnected) and each.refused), ""
    )


@pytest.mark.parametrize("kind", ["embedded", "mosquitto", "nats"])
def test_a_machine_retires_itself_and_leaves_no_message_behind(kind: str, database: Engine, tmp_path: Path) -> None:
    add_org(database, "home", now=now)
    add_principal(database, Principal(Role.MACHINE, "home", "attic"), SECRET, now=now)
    add_principal(database, Principal(Role.READER, "home", "robot"), SECRET, now=now)
    with (
        broker_of_kind(kind, TableDirectory(database), tmp_path / "broker") as broker,
        site(database, broker=broker),
    ):
        machine = settings(tmp_path, broker.port)
        assert Retirement(machine, open_transport(machine), SystemClock()).run()

        wait_until(
            lambda: [each["presence"] for each in list_machines(database)] == ["retired"], what="the machine is retired"
        )
        assert [each["revoked"] is not None for each in list_principals(database) if each["role"] == "machine"] == [
            True
        ]
        again = open_transport(machine)([(STATUS, 1)])
        assert isinstance(again, Mqtt)
        wait_until(lambda: refusal(again), what="the refusal of the machine")
        again.close()
        reader = Mqtt(machine.address, username="home._robot", password=SECRET, subscriptions=[(STATUS, 1)])
        wait_until(lambda: reader.receive(10, 0.1) and reader.connected, what="the connection of a reader")
        kept = [each for _ in range(5) for each in reader.receive(10, 0.1) if isinstance(each, Message)]
        assert kept == []
        reader.close()
