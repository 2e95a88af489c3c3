"""Several ingestors on one database and one broker, one step at a time: everything is done once, by the right one.

On SQLite, so by organisation.
"""

from collections import Counter
from collections.abc import Callable

import pytest
from acting import Ears, Operator, order_of, result
from clocks import Clock
from ingestion import Bench
from several import ORGS, Several
from sqlalchemy import Engine, update

from broker.client.transport import Message
from ingestor.cluster.leases import LEASE_SECONDS
from ingestor.ingestor import Ingestor
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.org_config import OrgConfig
from schemas.database import tables


@pytest.fixture
def several(fleet: Engine, clock: Clock) -> Several:
    return Several(fleet, clock)


def acked(bench: Bench) -> Counter[str]:
    """How often each organisation's machine was acknowledged."""
    received = bench.client.receive(1000, 0)
    found = [topics.parse(message.topic) for message in received if isinstance(message, Message)]
    return Counter(address.org for address in found if address is not None and address.topic is topics.ACK)


def test_each_organisation_is_one_ingestors_and_everything_is_stored_once(several: Several) -> None:
    first = several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(3)
    assert {several.owner(org) for org in ORGS} == {"ingestor", "ingestor-2"}
    acked(first)
    for org in ORGS:
        several.sample(org)
    several.step()
    assert [several.shown(org) for org in ORGS] == [("online", True, 1)] * 2
    assert acked(first) == Counter(ORGS)


def test_while_the_work_changes_hands_nothing_is_lost_and_nobody_is_shown_as_gone(several: Several) -> None:
    several.start("ingestor")
    for _ in range(3):
        several.sample("home")
        several.sample("office")
        several.pass_time(1)
    several.start("ingestor-2")
    for _ in range(4):
        several.sample("home")
        several.sample("office")
        several.pass_time(1)
    assert {several.owner(org) for org in ORGS} == {"ingestor", "ingestor-2"}
    assert [several.shown(org) for org in ORGS] == [("online", True, 7)] * 2


def test_a_dead_ingestors_work_is_taken_over_and_its_machines_are_unverified_until_heard(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    dead = several.owner("office")
    for org in ORGS:
        several.sample(org)
    several.step()
    several.kill(dead)
    several.pass_time(round(LEASE_SECONDS) + 3)
    assert several.owner("office") == several.owner("home") != dead
    assert several.shown("office") == ("online", False, 1)
    assert several.shown("home") == ("online", True, 1)
    several.sample("office")
    several.step()
    assert several.shown("office") == ("online", True, 2)


def test_a_goodbye_that_nobody_heard_is_found_when_the_work_is_taken_over(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    several.sample("office")
    several.step()
    several.kill(several.owner("office"))
    next(iter(several.benches.values())).publish(several.speakers["office"].status("stopped"))
    several.pass_time(round(LEASE_SECONDS) + 3)
    assert several.shown("office")[0] == "offline"


def test_one_that_stood_still_writes_nothing_of_what_was_taken_over(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    stalled = several.owner("office")
    bench = several.benches.pop(stalled)
    several.pass_time(round(LEASE_SECONDS) + 3)
    for _ in range(3):
        several.sample("office")
        several.pass_time(1)
    assert several.shown("office") == ("online", True, 3)
    several.benches[stalled] = bench
    several.step()
    assert bench.ingestor.counters["fenced"] == 1
    several.pass_time(5)
    assert {several.owner(org) for org in ORGS} == {"ingestor", "ingestor-2"}
    assert several.shown("office")[2] == 3


def test_an_order_is_sent_once_and_its_result_is_taken_by_whoever_has_it_then(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(2)
    several.sample("home")
    several.step()
    operator, ears = Operator(several.clock), Ears(several.broker)
    order = operator.order()
    next(iter(several.benches.values())).publish(operator.act(order))
    several.step()
    assert len(ears.commands()) == 1
    several.kill(several.owner("home"))
    several.pass_time(round(LEASE_SECONDS) + 3)
    done = result(order_of(order).id, "succeeded", several.clock, session=several.speakers["home"].session)
    next(iter(several.benches.values())).publish(done)
    several.pass_time(1)
    assert ears.acked() == [order_of(order).id]
    assert {update.state for update in ears.updates() if update.command} >= {"succeeded"}


def test_a_configuration_that_could_not_be_published_does_not_replace_the_next_owners(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    several.start("ingestor")
    with monkeypatch.context() as full:
        full.setattr(several.broker.clients["_ingestor"], "publish", lambda _message: False)
        _configure(several, time_to_live_seconds=600)
        several.pass_time(10)
        several.start("ingestor-2")
        several.pass_time(5)
        (org,) = [org for org in ORGS if several.owner(org) == "ingestor-2"]
        _configure(several, time_to_live_seconds=700)
        several.pass_time(10)
    several.pass_time(10)
    retained = several.broker.retained[topics.ORG_CONFIG.at(org=org)]
    assert OrgConfig.decode(retained.payload).time_to_live_seconds == 700


def _configure(several: Several, **facts: int) -> None:
    with several.fleet.begin() as connection:
        connection.execute(update(tables.org).values(config=OrgConfig.model_validate(facts).model_dump(mode="json")))


def test_only_one_rolls_up(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    tending: list[Ingestor] = []
    for name in ("ingestor", "ingestor-2"):
        ingestor = several.start(name).ingestor
        monkeypatch.setattr(ingestor._maintenance, "step", _noting(tending, ingestor))
    several.pass_time(5)
    assert set(tending) == {several.benches["ingestor"].ingestor}


def _noting(tending: list[Ingestor], ingestor: Ingestor) -> Callable[..., None]:
    return lambda *, busy: tending.append(ingestor)  # noqa: ARG005 - as it is called


def test_acknowledgements_say_what_is_stored_also_of_what_another_stored(several: Several) -> None:
    several.start("ingestor")
    for _ in range(3):
        several.sample("office")
        several.pass_time(1)
    several.start("ingestor-2")
    several.pass_time(2)
    bench = several.benches["ingestor"]
    bench.client.receive(1000, 0)
    several.sample("office")
    several.pass_time(3)
    received = [message for message in bench.client.receive(1000, 0) if isinstance(message, Message)]
    acks = [Ack.decode(message.payload) for message in received if message.topic.endswith("ack")]
    assert [(piece.first, piece.last) for ack in acks for piece in ack.ranges] == [(1, 4)]


def test_alerts_are_evaluated_on_the_machines_in_memory_after_the_work_has_changed_hands(several: Several) -> None:
    several.start("ingestor")
    for org in ORGS:
        several.sample(org)
    several.step()
    several.start("ingestor-2")
    for bench in several.benches.values():
        watches = bench.ingestor._monitor._alerts._watches.values()
        assert watches
        assert all(each.machine is bench.ingestor._cache.get(each.machine.org, each.machine.name) for each in watches)
