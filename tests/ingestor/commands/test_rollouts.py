"""Rollouts as they run: canaries, a rate, a stop, over several requests and a restart."""

from collections.abc import Callable

import pytest
from acting import Ears, Operator, new_id, order_of, result
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal
from schemas.contract.commands import Rollout
from schemas.database import tables
from schemas.database.queries.commands import list_commands

MACHINES = [f"m{number}" for number in range(6)]


@pytest.fixture
def operator(clock: Clock) -> Operator:
    return Operator(clock)


@pytest.fixture
def fleet(fleet: Engine, clock: Clock) -> Engine:
    """The fleet with six more machines at home."""
    for name in MACHINES:
        add_principal(fleet, Principal(Role.MACHINE, "home", name), "made-up", now=clock.now)
    return fleet


class Selection:
    """The machines of a rollout, one order each."""

    def __init__(self, bench: Bench, operator: Operator, fleet: Engine) -> None:
        self.bench = bench
        self.operator = operator
        self.fleet = fleet
        self.ears = Ears(bench.broker)
        self.batch = new_id()
        self.orders = {name: operator.order(machine=name) for name in MACHINES}

    def update(self) -> None:
        """Let the orders be those of an update."""
        arguments = {"version": "0.3.0", "sha256": "a" * 64}
        self.orders = {name: self.operator.order("update", name, arguments=arguments) for name in MACHINES}

    def announce(self, *names: str) -> None:
        for name in names or MACHINES:
            self.bench.publish(Speaker(self.bench.clock, name=name).status())
        self.bench.step()

    def ask(self, *names: str, **rollout: float) -> str:
        request = new_id()
        orders = [self.orders[name] for name in names or MACHINES]
        self.bench.publish(
            self.operator.act(*orders, batch=self.batch, rollout=Rollout.model_validate(rollout), id_=request)
        )
        self.bench.step()
        return request

    def answer(self, *names: str, state: str = "succeeded", reason: str = "") -> None:
        for name in names:
            id_ = order_of(self.orders[name]).id
            self.bench.publish(result(id_, state, self.bench.clock, machine=name, reason=reason))
        self.bench.step(steps=2)

    def sent(self) -> list[str]:
        """Where commands went for the first time."""
        return [name for name in MACHINES if any(command.attempt == 1 for command in self.ears.commands(name))]

    def states(self) -> dict[str, str]:
        return {row["machine"]: row["state"] for row in list_commands(self.fleet)}

    def requests(self) -> dict[str, str]:
        with self.fleet.connect() as connection:
            return {row.id: row.state for row in connection.execute(select(tables.request))}


@pytest.fixture
def selection(bench: Bench, operator: Operator, fleet: Engine) -> Selection:
    return Selection(bench, operator, fleet)


def test_everybody_at_once_unless_somebody_says_otherwise(selection: Selection) -> None:
    selection.announce()
    selection.ask()
    assert selection.sent() == MACHINES


def test_the_first_are_canaries_and_the_others_follow_when_they_have_ended_well(selection: Selection) -> None:
    selection.announce()
    selection.ask(canary=2)
    assert selection.sent() == ["m0", "m1"]
    selection.answer("m0")
    assert selection.sent() == []
    selection.answer("m1")
    assert selection.sent() == ["m2", "m3", "m4", "m5"]


def test_a_canary_that_fails_stops_the_rest_and_the_asker_hears_so(selection: Selection) -> None:
    selection.announce()
    request = selection.ask(canary=1)
    selection.answer("m0", state="failed")
    assert selection.sent() == ["m0"]
    assert set(selection.states().values()) == {"failed", "cancelled"}
    assert selection.requests() == {request: "stopped"}
    told = [update for update in selection.ears.updates() if update.command is None]
    assert [(update.state, update.reason) for update in told] == [("accepted", ""), ("stopped", "rollout")]
    assert told[-1].detail == "1 of 1 canaries did not succeed"


@pytest.mark.parametrize("fault", ["rolled-back", "not-fetched", "not-built", "interrupted", "no answer"])
def test_an_update_that_fails_on_a_canary_reaches_no_other_machine(selection: Selection, fault: str) -> None:
    """A version that crashes, hangs or cannot connect is rolled back, and after a power cut the update is interrupted;
    a machine that stays away has no answer.
    """
    selection.update()
    selection.announce()
    request = selection.ask(canary=2)
    assert selection.sent() == ["m0", "m1"]
    selection.answer("m0", state="running")
    selection.answer("m1")
    if fault == "no answer":
        selection.bench.step(3600, steps=2)
    else:
        selection.answer("m0", state="failed", reason=fault)
    assert selection.sent() == []
    states = selection.states()
    assert (states["m0"], states["m1"]) == ("timed-out" if fault == "no answer" else "failed", "succeeded")
    assert {states[name] for name in MACHINES[2:]} == {"cancelled"}
    assert selection.requests() == {request: "stopped"}


def test_a_rate_sends_so_many_a_minute(selection: Selection) -> None:
    selection.announce()
    selection.ask(per_minute=2)
    seen = [len(selection.sent())]
    for _ in range(5):
        for _ in range(3):
            selection.announce()
            selection.bench.step(10)
        seen.append(seen[-1] + len(selection.sent()))
    assert seen == [1, 2, 3, 4, 5, 6]


def test_the_rate_holds_over_requests_of_one_batch(selection: Selection) -> None:
    selection.announce()
    selection.ask("m0", "m1", per_minute=1)
    selection.ask("m2", "m3")
    assert selection.sent() == ["m0"]


def test_a_share_of_failures_stops_the_rest_over_requests_of_one_batch(selection: Selection) -> None:
    selection.announce("m0", "m1", "m2", "m3")
    first = selection.ask("m0", "m1", stop_percent=50)
    second = selection.ask("m2", "m3", "m4", "m5")
    selection.answer("m0", "m1", state="failed")
    assert "cancelled" not in selection.states().values()
    selection.answer("m2")
    assert selection.states() | {"m3": ""} == {
        "m0": "failed", "m1": "failed", "m2": "succeeded", "m3": "", "m4": "cancelled", "m5": "cancelled",
    }  # fmt: skip
    assert selection.requests() == {first: "stopped", second: "stopped"}


def test_what_is_asked_for_after_the_stop_is_cancelled_at_once(selection: Selection) -> None:
    selection.announce()
    selection.ask("m0", "m1", canary=1)
    selection.answer("m0", state="failed")
    late = selection.ask("m2")
    assert selection.states()["m2"] == "cancelled"
    assert selection.requests()[late] == "stopped"
    assert selection.sent() == ["m0"]


def test_the_batch_of_another_principal_is_another_rollout(selection: Selection, operator: Operator) -> None:
    selection.announce()
    selection.ask("m0", "m1", canary=1)
    other = Operator(operator.clock, level="other")
    selection.bench.publish(other.act(other.order(machine="m5"), batch=selection.batch))
    selection.bench.step()
    assert selection.sent() == ["m0", "m5"]


def test_a_restart_goes_on_with_the_same_canaries_the_same_rate_and_the_same_stop(
    make_bench: Callable[[], Bench], operator: Operator, fleet: Engine
) -> None:
    selection = Selection(make_bench(), operator, fleet)
    selection.announce()
    selection.ask(canary=2, per_minute=60)
    assert selection.sent() == ["m0"]
    selection.answer("m0")
    selection.bench = make_bench()
    selection.announce()
    assert selection.sent() == [], "not its turn"
    selection.bench.step(1)
    assert selection.sent() == ["m1"]
    selection.bench.step(5)
    assert selection.sent() == [], "a canary is still on its way"
    selection.answer("m1", state="failed")
    selection.bench = make_bench()
    selection.bench.step(1, steps=3)
    assert sorted(selection.states().values()) == ["cancelled"] * 4 + ["failed", "succeeded"]


def test_a_rollout_that_was_stopped_stays_so_when_its_cancelling_was_not_finished(
    make_bench: Callable[[], Bench], operator: Operator, fleet: Engine
) -> None:
    selection = Selection(make_bench(), operator, fleet)
    request = selection.ask(canary=1)
    with fleet.begin() as connection:
        connection.execute(tables.request.update().where(tables.request.c.id == request).values(state="stopped"))
    selection.bench = make_bench()
    selection.announce()
    assert selection.sent() == []
    assert set(selection.states().values()) == {"cancelled"}
