"""Requests: what is recorded, what is refused, and what is answered. On every database."""

from collections.abc import Callable

import pytest
from acting import Ears, Operator, new_id, order_of, result
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.client.transport import Message
from ingestor.commands.request_handler import OPEN_MAX
from schemas.contract import topics
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import KeyChange, new_key, public_key, sign
from schemas.database import tables
from schemas.database.queries.commands import list_commands, show_command


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def operator(clock: Clock) -> Operator:
    return Operator(clock)


@pytest.fixture
def ears(bench: Bench) -> Ears:
    return Ears(bench.broker)


def count(fleet: Engine, table: object = tables.command) -> int:
    with fleet.connect() as connection:
        return len(connection.execute(select(table)).all())  # type: ignore[call-overload]


def test_a_request_that_comes_again_is_answered_again_and_recorded_once(
    bench: Bench, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    request = operator.act(operator.order(), operator.order("refresh"))
    bench.publish(request, request)
    bench.step()
    assert ears.states() == ["accepted", "queued", "queued", "accepted", "queued", "queued"]
    bench.publish(request)
    bench.step()
    assert ears.states() == ["accepted", "queued", "queued"]
    assert (count(fleet), count(fleet, tables.request), count(fleet, tables.command_transition)) == (2, 1, 2)


def test_a_request_that_comes_again_after_the_end_hears_the_outcome_with_its_output(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears
) -> None:
    order = operator.order()
    request = operator.act(order)
    bench.publish(speaker.status(), request)
    bench.step()
    bench.publish(result(order_of(order).id, "succeeded", bench.clock, output="pong\0"))
    bench.step()
    ears.updates()
    bench.publish(request)
    bench.step()
    whole, own = ears.updates()
    assert (whole.command, whole.state) == (None, "accepted")
    assert (own.state, own.output) == ("succeeded", "pong\N{REPLACEMENT CHARACTER}")


def test_an_order_for_nobody_is_refused_and_the_others_are_carried_out(
    bench: Bench, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    bench.publish(operator.act(operator.order(machine="cellar"), operator.order(org="office"), operator.order()))
    bench.step()
    whole, *others = ears.updates()
    assert (whole.state, whole.detail) == ("accepted", "2 of 3 orders refused: home has no machine cellar")
    assert sorted((update.state, update.reason) for update in others) == [
        ("queued", ""),
        ("refused", "unknown-machine"),
        ("refused", "unknown-machine"),
    ]
    assert count(fleet) == 1


def test_a_request_of_which_nothing_can_be_done_is_refused(bench: Bench, operator: Operator, ears: Ears) -> None:
    bench.publish(operator.act(operator.order(machine="cellar")))
    bench.step()
    assert ears.states() == ["refused", "refused"]


def test_an_order_that_cannot_be_read_refuses_the_request(
    bench: Bench, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    broken = operator.order().model_copy(update={"statement": '{"kind": "order"}'})
    bench.publish(operator.act(operator.order(), broken))
    bench.step()
    (update,) = ears.updates()
    assert (update.state, update.reason) == ("refused", "invalid")
    assert update.detail.startswith("order 2 cannot be read")
    assert count(fleet) == 0


def test_what_is_no_request_is_set_aside(bench: Bench, operator: Operator) -> None:
    topic = topics.REQUEST.at(org="home", principal="ops")
    nowhere = Operator(operator.clock, org="nowhere")
    bench.publish(Message(topic, b"{}"), nowhere.act(nowhere.order()))
    bench.step(steps=2)
    assert bench.ingestor.counters["rejected.invalid"] == 1
    assert bench.ingestor.counters["rejected.unknown-organisation"] == 1


def test_nobody_can_take_another_ones_request_or_order(bench: Bench, operator: Operator, fleet: Engine) -> None:
    ears = Ears(bench.broker)
    mine, id_ = operator.order(), new_id()
    bench.publish(operator.act(mine, id_=id_))
    bench.step()
    other = Operator(operator.clock, level="mallory")
    bench.publish(other.act(other.order(), id_=id_), other.act(other.order(id=order_of(mine).id, action="reboot")))
    bench.step()
    answers = ears.updates("mallory")
    assert [(answer.state, answer.reason) for answer in answers] == [
        ("refused", "duplicate-id"),
        ("refused", "orders"),
        ("refused", "duplicate-id"),
    ]
    (command,) = list_commands(fleet)
    assert (command["action"], command["principal"]) == ("ping", "home._ops")


def test_the_dashboard_asks_in_every_organisation(bench: Bench, operator: Operator, ears: Ears, fleet: Engine) -> None:
    dashboard = Operator(operator.clock, level="_dashboard")
    bench.publish(dashboard.act(dashboard.order()))
    bench.step()
    assert ears.states("_dashboard") == ["accepted", "queued"]
    (command,) = list_commands(fleet)
    assert (command["principal"], command["actor"]) == ("_dashboard", "Ada")


def test_one_machine_has_only_so_many_open_commands(bench: Bench, operator: Operator, ears: Ears) -> None:
    bench.publish(operator.act(*(operator.order() for _ in range(OPEN_MAX + 1))))
    bench.step()
    assert [update.reason for update in ears.updates() if update.state == "refused"] == ["too-many"]


def test_a_command_that_was_not_sent_can_be_taken_back_and_another_one_says_why_not(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    waits, runs = operator.order(), operator.order()
    bench.publish(operator.act(waits))
    bench.step()
    bench.publish(operator.cancel(order_of(waits).id))
    bench.step()
    bench.publish(speaker.status(), operator.act(runs))
    bench.step()
    ears.updates()
    bench.publish(operator.cancel(order_of(waits).id, order_of(runs).id, "0" * 32))
    bench.step()
    whole, *answers = ears.updates()
    assert whole.state == "accepted"
    assert [(answer.state, answer.reason) for answer in answers] == [
        ("cancelled", "cancelled"),
        ("sent", "too-late"),
        ("refused", "unknown-command"),
    ]
    shown = show_command(fleet, order_of(waits).id)
    assert shown is not None
    assert shown["history"][-1]["detail"] == "cancelled by Ada"
    assert [order_of(command.order).id for command in ears.commands()] == [order_of(runs).id]


def test_a_command_of_another_organisation_cannot_be_taken_back(
    bench: Bench, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order()
    bench.publish(operator.act(order))
    bench.step()
    office = Operator(operator.clock, org="office")
    bench.publish(office.cancel(order_of(order).id))
    bench.step()
    assert [row["state"] for row in list_commands(fleet)] == ["queued"]
    assert ears.states() == ["accepted", "queued"]


def hold_keys(fleet: Engine, clock: Clock, *seeds: str) -> None:
    """Let the machines of home obey these keys: the first signs for itself and for the others."""
    with fleet.begin() as connection:
        org_id = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == "home"))
        for seed in seeds:
            change = KeyChange(change="add", org="home", public_key=public_key(seed), at=clock.now())
            signed = sign(change, seeds[0])
            connection.execute(tables.key_change.insert().values(org_id=org_id, **signed.model_dump()))


def test_a_signature_that_does_not_fit_is_refused_and_recorded(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    hold_keys(fleet, bench.clock, operator.seed)
    bench.publish(speaker.status())
    bench.step(6)
    stranger = Operator(bench.clock, level="mallory", seed=new_key())
    good, forged, tampered = operator.order(), stranger.order(), operator.order()
    tampered = tampered.model_copy(update={"statement": tampered.statement.replace("ping", "pong")})
    bench.publish(operator.act(good, forged, tampered))
    bench.step()
    assert [order_of(command.order).id for command in ears.commands()] == [order_of(good).id]
    for order in (forged, tampered):
        shown = show_command(fleet, order_of(order).id)
        assert shown is not None
        assert (shown["state"], shown["reason"]) == ("rejected", "signature")
        assert [row["after"] for row in shown["history"]] == ["rejected"]
    assert sorted(ears.states()) == ["accepted", "queued", "rejected", "rejected", "sent"]


def test_who_may_sign_is_published_and_a_change_is_noticed_within_seconds(
    bench: Bench, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    hold_keys(fleet, bench.clock, operator.seed, new_key())
    bench.step(6)
    config = OrgConfig.decode(bench.broker.retained[topics.ORG_CONFIG.at(org="home")].payload)
    assert len(config.key_changes) == 2
    office = OrgConfig.decode(bench.broker.retained[topics.ORG_CONFIG.at(org="office")].payload)
    assert office.key_changes == ()
    bench.publish(operator.act(operator.order()))
    bench.step()
    assert ears.states() == ["accepted", "queued"]


def test_one_who_asks_without_end_delays_nobody(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    noisy = Operator(bench.clock, level="noisy")
    flood = [noisy.act(*(noisy.order(machine=f"m{i}") for i in range(100))) for _ in range(40)]
    bench.publish(*flood, operator.act(operator.order()), speaker.telemetry(1))
    bench.step()
    assert count(fleet, tables.sample) == 1
    bench.step()
    assert ears.states()[:2] == ["accepted", "queued"]
    heard = len(ears.updates("noisy")) // 101
    assert 0 < heard < 10
    bench.step(steps=40)
    assert heard + len(ears.updates("noisy")) // 101 == len(flood)


def test_a_restart_answers_from_what_was_recorded(
    make_bench: Callable[[], Bench], speaker: Speaker, operator: Operator
) -> None:
    first = make_bench()
    ears = Ears(first.broker)
    request = operator.act(operator.order())
    first.publish(speaker.status(), request)
    first.step()
    assert ears.states() == ["accepted", "queued", "sent"]
    second = make_bench()
    second.publish(request)
    second.step()
    assert ears.states() == ["accepted", "sent"]
