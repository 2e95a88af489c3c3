"""A Mosquitto elsewhere as a bridge to the embedded broker: it connects, or it is told why not and waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import PASSWORD, RawClient, RunningBroker, embedded_broker
from servers import mosquitto
from waiting import wait_until

from broker.access.policy import Principal, Role
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
READER = Principal(Role.READER, "home", "bridge")
STATUS = topics.STATUS.at(org="home", machine="attic")
ALL_STATUS = topics.STATUS.filter(org="home")


@contextmanager
def bridge(broker: RunningBroker, place: Path, *lines: str) -> Iterator[int]:
    """A Mosquitto with a bridge whose settings are the defaults, but for the credential and these lines."""
    own = (
        "allow_anonymous true",
        "connection home",
        f"address 127.0.0.1:{broker.port}",
        f"remote_username {READER.username}",
        f"remote_password {PASSWORD}",
        *lines,
    )
    with mosquitto(place, lines="\n".join(own)) as port:
        yield port


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    with embedded_broker({ATTIC: PASSWORD, READER: PASSWORD}) as running:
        yield running


def test_a_bridge_connects_with_its_notifications_and_relays_what_it_may_read(
    broker: RunningBroker, tmp_path: Path
) -> None:
    lines = (f"remote_clientid {READER.username}", f"topic {ALL_STATUS} in 1")
    with bridge(broker, tmp_path, *lines) as port, RawClient(broker.port) as attic, RawClient(port) as local:
        assert attic.connect(ATTIC.username) == 0
        assert local.connect(None, None, client_id="local") == 0
        assert local.subscribe(ALL_STATUS) == [1]
        wait_until(lambda: READER.username in broker.clients, seconds=60, what="the bridge connected")
        wait_until(lambda: broker.counters.get("publish_denied", 0) > 0, what="its notification dropped")
        attic.publish(STATUS, b"online", retain=True)

        assert local.message().payload == b"online"
        assert broker.counters.get("taken_over", 0) == 0
        assert broker.counters["will_denied"] == 1, "it connected more than once"


def test_a_bridge_with_a_client_id_of_its_own_is_refused_and_waits(broker: RunningBroker, tmp_path: Path) -> None:
    with bridge(broker, tmp_path, f"topic {ALL_STATUS} in 1"):
        wait_until(lambda: broker.counters.get("refused", 0) >= 2, seconds=60, what="the bridge refused")

    assert broker.counters["refused"] < 10
    assert broker.counters.get("connects", 0) == 0
