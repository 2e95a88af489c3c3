"""Commands on their way: the ingestor on every database and a broker in memory, one step at a time."""

from collections.abc import Callable

import pytest
from acting import Ears, Operator, order_of, result
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine

from ingestor.commands import dispatcher
from ingestor.commands.dispatcher import Dispatcher
from ingestor.domain.batch import Batch
from ingestor.domain.presence import Presence, PresenceState
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


def state(fleet: Engine, id_: str) -> str:
    command = show_command(fleet, id_)
    return "none" if command is None else str(command["state"])


def test_a_command_for_a_machine_that_is_there_goes_out_in_the_step_that_records_it(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order()
    bench.publish(speaker.status())
    bench.step()
    bench.publish(operator.act(order))
    bench.step()
    (command,) = ears.commands()
    assert (command.order, command.attempt) == (order, 1)
    assert ears.states() == ["accepted", "queued", "sent"]
    assert state(fleet, order_of(order).id) == "sent"


def test_progress_and_outcome_are_recorded_acknowledged_and_told(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order()
    id_ = order_of(order).id
    bench.publish(speaker.status(), operator.act(order))
    bench.step()
    bench.publish(result(id_, "running", bench.clock))
    bench.step()
    assert ears.acked() == [], "it is not final"
    bench.publish(result(id_, "succeeded", bench.clock, exit_code=0, output="pong", detail="well done"))
    bench.step(5)
    assert ears.acked() == [id_]
    assert ears.states()[-2:] == ["running", "succeeded"]
    shown = show_command(fleet, id_)
    assert shown is not None
    assert (shown["state"], shown["output"], shown["exit_code"]) == ("succeeded", "pong", 0)
    history = [(row["before"], row["after"], row["by"]) for row in shown["history"]]
    assert history == [
        ("", "queued", "home._ops"),
        ("queued", "sent", "ingestor"),
        ("sent", "running", "home.attic"),
        ("running", "succeeded", "home.attic"),
    ]


def test_a_machine_that_was_away_for_an_hour_gets_its_command_once_when_it_returns(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order(lives_seconds=7200)
    id_ = order_of(order).id
    bench.publish(operator.act(order))
    bench.step(10, steps=360)
    assert ears.commands() == []
    assert state(fleet, id_) == "queued"
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    assert len(ears.commands()) == 1
    bench.publish(result(id_, "running", bench.clock), result(id_, "succeeded", bench.clock))
    for seq in range(2, 20):
        bench.publish(speaker.telemetry(seq))
        bench.step(10)
    assert ears.commands() == [], "it had said that it runs"
    assert state(fleet, id_) == "succeeded"


def test_an_expired_command_is_never_sent(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order(lives_seconds=60)
    bench.publish(operator.act(order))
    bench.step(5, steps=12)
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step(steps=5)
    assert ears.commands() == []
    assert state(fleet, order_of(order).id) == "expired"
    assert ears.states() == ["accepted", "queued", "expired"]


def test_a_command_without_an_answer_is_sent_again_more_and_more_seldom_until_it_expires(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order(lives_seconds=1800)
    bench.publish(speaker.status(), operator.act(order))
    sent = []
    for seq in range(1, 201):
        bench.publish(speaker.telemetry(seq))
        bench.step(10)
        sent += [(command.attempt, seq) for command in ears.commands()]
    attempts, when = zip(*sent, strict=True)
    assert attempts == tuple(range(1, len(sent) + 1))
    assert 7 <= len(sent) <= 60
    assert when[-1] < 181, "not after its expiry"
    assert state(fleet, order_of(order).id) == "timed-out"
    assert "expired" not in ears.states(), "it may have run: nobody knows"


def test_a_new_session_gets_an_unanswered_command_at_once(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears
) -> None:
    bench.publish(speaker.status(), operator.act(operator.order()))
    bench.step()
    assert len(ears.commands()) == 1
    speaker.session = 2
    bench.publish(speaker.status())
    bench.step(0.1)
    assert len(ears.commands()) == 1
    bench.publish(speaker.telemetry(1))
    bench.step(0.1)
    assert ears.commands() == []


def test_a_command_that_runs_too_long_is_timed_out_and_its_late_result_still_wins(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order("reboot")
    id_ = order_of(order).id
    bench.publish(speaker.status(), operator.act(order))
    bench.step()
    bench.publish(result(id_, "running", bench.clock))
    bench.step(steps=2)
    bench.step(901)
    assert state(fleet, id_) == "timed-out"
    bench.publish(result(id_, "running", bench.clock))
    bench.step()
    assert state(fleet, id_) == "timed-out", "it ran once"
    bench.publish(result(id_, "succeeded", bench.clock))
    bench.step()
    assert state(fleet, id_) == "succeeded"
    assert ears.states()[-3:] == ["running", "timed-out", "succeeded"]


def test_results_are_acknowledged_again_and_change_nothing_after_the_end(
    bench: Bench, speaker: Speaker, operator: Operator, ears: Ears, fleet: Engine
) -> None:
    order = operator.order()
    id_ = order_of(order).id
    bench.publish(speaker.status(), operator.act(order))
    bench.step()
    for outcome in ("failed", "succeeded", "failed"):
        bench.publish(result(id_, outcome, bench.clock))
        bench.step(5)
        assert ears.acked() == [id_]
    assert state(fleet, id_) == "failed"
    assert ears.states() == ["accepted", "queued", "sent", "failed"]


def test_a_result_of_an_unknown_command_is_set_aside_and_acknowledged(bench: Bench, ears: Ears, clock: Clock) -> None:
    bench.publish(result("0" * 32, "succeeded", clock))
    bench.step(5)
    assert bench.ingestor.counters["rejected.unknown-command"] == 1
    assert ears.acked() == ["0" * 32]


def test_a_machine_cannot_say_anything_of_another_ones_command(
    bench: Bench, speaker: Speaker, operator: Operator, fleet: Engine
) -> None:
    order = operator.order()
    bench.publish(speaker.status(), operator.act(order))
    bench.step()
    bench.publish(result(order_of(order).id, "succeeded", bench.clock, org="office"))
    bench.step()
    assert state(fleet, order_of(order).id) == "sent"
    assert bench.ingestor.counters["rejected.unknown-command"] == 1


def test_commands_can_be_listed_by_organisation_machine_and_state(
    bench: Bench, operator: Operator, fleet: Engine
) -> None:
    bench.publish(operator.act(operator.order(), operator.order("reboot")))
    bench.step()
    assert {
        row["action"] for row in list_commands(fleet, org_name="home", machine_name="attic", state="queued", limit=5)
    } == {
        "ping",
        "reboot",
    }
    assert list_commands(fleet, org_name="office", machine_name=None, state=None, limit=5) == []
    assert len(list_commands(fleet, org_name=None, machine_name=None, state=None, limit=1)) == 1


def test_a_restarted_ingestor_sends_what_was_recorded_and_not_published(
    make_bench: Callable[[], Bench],
    speaker: Speaker,
    operator: Operator,
    fleet: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = make_bench()
    ears = Ears(first.broker)
    first.publish(speaker.status())
    first.step()
    order = operator.order()
    first.publish(operator.act(order))
    monkeypatch.setattr(first.ingestor._outbound, "publish", lambda _: 0)  # killed between commit and publish
    first.step()
    assert state(fleet, order_of(order).id) == "sent"
    assert ears.commands() == []
    second = make_bench()
    second.publish(speaker.telemetry(1))
    second.step()
    (command,) = ears.commands()
    assert command.order == order


def test_what_waits_for_a_machine_that_was_taken_out_of_service_is_cancelled(
    make_bench: Callable[[], Bench], operator: Operator, fleet: Engine
) -> None:
    first = make_bench()
    ears = Ears(first.broker)
    order = operator.order()
    first.publish(operator.act(order))
    first.step()
    first.ingestor._cache._machines["home", "attic"].state = PresenceState(Presence.RETIRED)
    first.publish(operator.act(operator.order()))
    first.step()
    assert ears.updates()[-1].reason == "retired", "nothing new is taken for it"
    first.publish(Speaker(first.clock).telemetry(1))
    first.step()
    assert state(fleet, order_of(order).id) == "cancelled"


def test_nothing_is_sent_while_there_is_no_broker(
    bench: Bench, speaker: Speaker, operator: Operator, fleet: Engine
) -> None:
    order = operator.order()
    bench.publish(speaker.status(), operator.act(order))
    bench.broker.stop()
    bench.step(steps=3)
    assert state(fleet, order_of(order).id) in ("none", "queued")


def test_a_step_looks_at_a_bounded_number_of_commands(
    bench: Bench, operator: Operator, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    monkeypatch.setattr(dispatcher, "CHECKS_EACH_STEP", 10)
    check = Dispatcher._check

    def counting(self: Dispatcher, batch: Batch, id_: str, now: int, *, hearing: bool) -> None:
        checked.append(id_)
        check(self, batch, id_, now, hearing=hearing)

    monkeypatch.setattr(Dispatcher, "_check", counting)
    bench.publish(operator.act(*(operator.order(lives_seconds=60) for _ in range(35))))
    bench.step()
    assert len(checked) == 10
    bench.step(steps=10)
    assert len(checked) == 35, "each once: nothing happened to them since"
    bench.step(60, steps=5)
    assert {row["state"] for row in list_commands(fleet)} == {"expired"}
    assert len(checked) == 70
