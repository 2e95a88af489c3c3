"""The publisher, over the in-process transport."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.request_client import DASHBOARD, RequestClient
from broker.client.transport import Message
from dashboard.auth.users import UserRole
from dashboard.publishing.publisher import NotAllowedError, Publisher, SentBatch
from runtime.clock import SystemClock
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.secret_files import write_secret
from schemas.contract import topics
from schemas.contract.administration import ConfigureOrg, ReinstateMachine, RetireMachine
from schemas.contract.alerts import Acknowledge, AddSilence, AlertChange, EndSilence, Unacknowledge
from schemas.contract.commands import ORDERS_MAX, Act, Cancel, Request, Rollout
from schemas.contract.signing import KeyChange, key_id, new_key, open_signed, public_key

SEED = new_key()


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    write_secret(tmp_path / "home", SEED)
    return tmp_path


@pytest.fixture
def publisher(broker: MemoryBroker, keys: Path) -> Iterator[Publisher]:
    subscriptions = RequestClient.subscriptions(DASHBOARD)
    transport = MemoryTransport(broker, client_id=DASHBOARD.username, subscriptions=subscriptions)
    publisher = Publisher(transport, SystemClock(), keys=keys)
    publisher.start()
    wait_until(lambda: not publisher.unavailable("home"), what="the connection")
    yield publisher
    publisher.stop()


@pytest.fixture
def ingestor(broker: MemoryBroker) -> MemoryTransport:
    transport = MemoryTransport(broker, client_id="_ingestor", subscriptions=[(topics.REQUEST.filter(), 1)])
    transport.receive(10, 0)
    return transport


def heard(ingestor: MemoryTransport) -> list[Request]:
    def messages() -> list[Message]:
        return [event for event in ingestor.receive(100, 0.1) if isinstance(event, Message)]

    found = wait_until(messages, what="a request")
    assert {message.topic for message in found} == {topics.REQUEST.at(org="home", principal="_dashboard")}
    return [Request.decode(message.payload) for message in found]


def act(publisher: Publisher, *machines: str, role: UserRole = UserRole.OPERATOR, org: str = "home") -> SentBatch:
    given: dict[str, Any] = {"role": role, "actor": "olga", "lifetime_seconds": 60, "rollout": Rollout(canary=1)}
    return publisher.act(org, {name: {} for name in machines}, "ping", **given)


def test_an_operators_action_is_published_in_their_name(publisher: Publisher, ingestor: MemoryTransport) -> None:
    sent = act(publisher, "a", "b")
    (request,) = heard(ingestor)
    assert isinstance(request.change, Act)
    assert (request.actor, request.change.batch, request.change.rollout.canary) == ("olga", sent.batch, 1)
    assert sent.requests == {request.id: tuple(order.id for order in sent.orders)}


def test_each_request_says_which_orders_it_carried(publisher: Publisher) -> None:
    names = [f"web-{i}" for i in range(ORDERS_MAX + 1)]
    sent = act(publisher, *names)
    assert [len(ids) for ids in sent.requests.values()] == [ORDERS_MAX, 1]
    assert [id_ for ids in sent.requests.values() for id_ in ids] == [order.id for order in sent.orders]


@pytest.mark.parametrize("role", [role for role in UserRole if role not in (UserRole.OPERATOR, UserRole.ADMIN)])
def test_nobody_else_can_act_whatever_a_page_lets_them(
    publisher: Publisher, ingestor: MemoryTransport, role: UserRole
) -> None:
    with pytest.raises(NotAllowedError, match="Only operators and admins"):
        act(publisher, "a", role=role)
    with pytest.raises(NotAllowedError, match="Only operators and admins"):
        publisher.cancel("home", ["1" * 32], role=role, actor="vera")
    assert ingestor.receive(10, 0.3) == []


CHANGE = ConfigureOrg(settings={"cpu_knee_percent": 60})
RETIRING = RetireMachine(machine="attic")


def test_an_admins_change_is_published_in_their_name_and_needs_no_key(
    publisher: Publisher, ingestor: MemoryTransport, keys: Path
) -> None:
    (keys / "home").unlink()
    id_ = publisher.administer("home", CHANGE, role=UserRole.ADMIN, actor="ada")
    (request,) = heard(ingestor)
    assert (request.id, request.actor, request.change) == (id_, "ada", CHANGE)


ATTENDING = (
    Acknowledge(alerts=(7,)),
    Unacknowledge(alerts=(7,)),
    AddSilence(reason="roof work", lifetime_seconds=3600),
    EndSilence(id=7),
)


@pytest.mark.parametrize("change", ATTENDING, ids=lambda change: change.kind)
def test_operators_acknowledge_and_silence_alerts_and_viewers_do_not(
    publisher: Publisher, ingestor: MemoryTransport, change: AlertChange
) -> None:
    with pytest.raises(NotAllowedError, match="Only admins"):
        publisher.administer("home", change, role=UserRole.VIEWER, actor="vera")
    publisher.administer("home", change, role=UserRole.OPERATOR, actor="olga")
    (request,) = heard(ingestor)
    assert (request.actor, request.change) == ("olga", change)


def test_only_admins_change_the_organisation_but_operators_may_retire_a_machine(
    publisher: Publisher, ingestor: MemoryTransport
) -> None:
    for role, change in (
        (UserRole.VIEWER, CHANGE),
        (UserRole.OPERATOR, CHANGE),
        (UserRole.VIEWER, RETIRING),
        (UserRole.OPERATOR, ReinstateMachine(machine="attic")),
    ):
        with pytest.raises(NotAllowedError, match="Only admins"):
            publisher.administer("home", change, role=role, actor="olga")
    assert ingestor.receive(10, 0.3) == []
    publisher.administer("home", RETIRING, role=UserRole.OPERATOR, actor="olga")
    assert heard(ingestor)[0].change == RETIRING


def test_a_change_is_not_asked_for_while_the_broker_is_away(publisher: Publisher, broker: MemoryBroker) -> None:
    broker.stop()
    wait_until(lambda: "cannot be reached" in publisher.unreachable(), what="the loss")
    with pytest.raises(NotAllowedError, match="cannot be reached"):
        publisher.administer("home", CHANGE, role=UserRole.ADMIN, actor="ada")


def test_each_machine_may_get_arguments_of_its_own(publisher: Publisher, ingestor: MemoryTransport) -> None:
    wanted: dict[str, dict[str, Any]] = {"a": {"labels": {"site": "paris"}}, "b": {"labels": {}}}
    given: dict[str, Any] = {"role": UserRole.OPERATOR, "actor": "olga", "lifetime_seconds": 60}
    sent = publisher.act("home", wanted, "configure", **given)
    heard(ingestor)
    assert {order.machine: order.arguments for order in sent.orders} == wanted
    with pytest.raises(NotAllowedError, match="Only operators and admins"):
        publisher.act("home", wanted, "configure", **{**given, "role": UserRole.VIEWER})


def test_a_change_of_keys_is_signed_here_for_admins_only(publisher: Publisher) -> None:
    change = KeyChange(change="add", org="home", public_key=public_key(new_key()), at=1)
    signed = publisher.key_change(change, role=UserRole.ADMIN).change
    assert open_signed(signed, public_key(SEED), KeyChange) == change
    for role in (UserRole.VIEWER, UserRole.OPERATOR):
        with pytest.raises(NotAllowedError, match="Only admins"):
            publisher.key_change(change, role=role)


def test_commands_are_taken_back(publisher: Publisher, ingestor: MemoryTransport) -> None:
    publisher.cancel("home", ["1" * 32], role=UserRole.ADMIN, actor="olga")
    (request,) = heard(ingestor)
    assert isinstance(request.change, Cancel)


def test_an_organisation_without_a_key_is_told_the_command(publisher: Publisher) -> None:
    assert "dashfleet key create --org acme" in publisher.unavailable("acme")
    with pytest.raises(NotAllowedError, match="key create --org acme"):
        act(publisher, "a", org="acme")


def test_a_key_that_others_can_read_or_that_is_none_is_not_used(publisher: Publisher, keys: Path) -> None:
    assert publisher.key("home") == key_id(public_key(SEED))
    (keys / "home").chmod(0o644)
    assert "chmod 600" in publisher.unavailable("home")
    write_secret(keys / "other", "not a key")
    assert "contains no key" in publisher.unavailable("other")


def test_a_broker_that_is_away_is_said_with_the_reason_and_its_return_is_seen(
    publisher: Publisher, broker: MemoryBroker
) -> None:
    broker.stop()
    wait_until(lambda: "cannot be reached" in publisher.unavailable("home"), what="the loss")
    with pytest.raises(NotAllowedError, match="cannot be reached"):
        act(publisher, "a")
    broker.start()
    wait_until(lambda: not publisher.unavailable("home"), what="the return")


def test_without_a_credential_a_dashboard_only_looks(tmp_path: Path) -> None:
    urls: dict[str, Any] = {"database": "sqlite://", "auth_database": "sqlite://"}
    settings = DashboardSettings(data=tmp_path, password_file=tmp_path / "nothing", **urls)
    publisher = Publisher.of(settings, SystemClock())
    publisher.start()
    assert "is read-only" in publisher.unavailable("home")
    publisher.stop()


def test_what_was_handed_over_is_published_before_it_stops(publisher: Publisher, ingestor: MemoryTransport) -> None:
    act(publisher, "a")
    publisher.stop()
    assert len(heard(ingestor)) == 1
