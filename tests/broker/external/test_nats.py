"""What NATS is told: the same rules as everywhere, and nobody whom it could not know."""

import re
from pathlib import Path

import pytest
from brokers import PASSWORD, RawClient, nats_broker

from broker.access.policy import NOTIFIER, Principal, Role, grants
from broker.access.principals import CredentialEntry, MemoryDirectory
from broker.external import nats
from runtime.settings.broker import NatsSettings
from schemas.contract import topics

MACHINE = Principal(Role.MACHINE, "home", "attic")
READER = Principal(Role.READER, "home", "grafana")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")


def entry(principal: Principal) -> CredentialEntry:
    directory = MemoryDirectory({principal: PASSWORD})
    return directory.entries()[principal.username]


@pytest.mark.parametrize("principal", [MACHINE, READER, INGESTOR, NOTIFIER], ids=lambda who: who.username)
def test_a_users_subjects_are_its_grants(principal: Principal) -> None:
    written = nats.users([entry(principal)])
    publish, subscribe = (set(re.findall(r'"([^"]+)"', part)) for part in written.split("permissions:")[1].split("}, "))
    granted = grants(principal)
    assert publish == ({_subject(topic) for topic in granted.publish} or {">"})
    assert ('publish: { deny: [">"] }' in written) is (not granted.publish)
    assert subscribe == {*map(_subject, granted.read), nats.ACKNOWLEDGED}


def test_who_has_no_record_that_nats_takes_is_left_out_and_named() -> None:
    known, unknown = entry(MACHINE), CredentialEntry(READER, "$7$101$x$y")
    odd = CredentialEntry(Principal(Role.MACHINE, "home", 'a"b'), "$7$101$x$y", bcrypt=known.bcrypt)
    written = nats.users([known, unknown, odd])
    assert re.findall(r'user: "([^"]+)"', written) == ["home.attic"]
    assert nats.left_out([known, unknown, odd]) == ["home._grafana", 'home.a"b']


def test_a_cluster_of_three_keeps_three_copies_and_a_node_alone_one(tmp_path: Path) -> None:
    fields = {"data": tmp_path, "database": "sqlite://", "directory": tmp_path}
    alone = NatsSettings.model_validate(fields)
    routes = {"cluster_listen": "127.0.0.1:1", "routes": ["127.0.0.1:2", "127.0.0.1:3"]}
    assert "stream_replicas: 1" in nats.configuration(alone)
    assert "cluster {" not in nats.configuration(alone)
    assert "stream_replicas: 3" in nats.configuration(NatsSettings.model_validate({**fields, **routes}))


def test_a_node_lets_in_who_is_known_until_it_is_revoked(tmp_path: Path) -> None:
    directory = MemoryDirectory(dict.fromkeys((MACHINE, READER), PASSWORD))
    topic = topics.STATUS.at(org="home", machine="attic")
    with nats_broker(directory, tmp_path) as node, RawClient(node.port) as reader, RawClient(node.port) as machine:
        assert reader.connect(READER.username) == 0
        assert reader.subscribe(topic) == [1]
        assert machine.connect(MACHINE.username) == 0
        machine.publish(topic, b"here")
        assert reader.message().payload == b"here"
        directory.revoke(READER.username)
        assert reader.is_gone()


def _subject(topic: str) -> str:
    return topic.replace("/", ".").replace("+", "*")
