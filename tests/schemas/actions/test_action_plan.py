import json
from typing import Any

import pytest

from schemas.actions.action_catalogue import Target, list_offers, make_target
from schemas.actions.action_plan import DEFAULT_LIFETIME_SECONDS, ActionPlan, default_rollout, grouped
from schemas.actions.action_schema import ArgumentError
from schemas.contract.commands import Rollout


def described(name: str, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON Schema
    return {"name": name, "title": name.title(), "arguments_schema": {"properties": properties}}


def machine(
    name: str,
    *actions: dict[str, Any],
    keys: tuple[str, ...] = (),
    presence: str = "online",
    labels: dict[str, str] | None = None,
) -> Target:
    able, trusted = json.dumps(actions), json.dumps(keys)
    return make_target(name, hostname=None, presence=presence, actions=able, keys=trusted, labels=labels)


def planned(selected: list[Target], action: str = "ping", **arguments: object) -> ActionPlan:
    offer = next(offer for offer in list_offers(selected) if offer.name == action)
    return ActionPlan.of(selected, offer, arguments)


PING, REBOOT = described("ping"), described("reboot")
SHORT, LONG = (described("message", text={"type": "string", "maxLength": most}) for most in (3, 30))


def test_a_plan_targets_the_machines_that_allow_the_action_and_names_the_others() -> None:
    plan = planned([machine("a", PING), machine("b", REBOOT), machine("c", PING)])
    assert (plan.action, plan.title, plan.names, plan.left_out) == ("ping", "Ping", ("a", "c"), ("b",))
    assert (plan.lifetime_seconds, plan.rollout) == (DEFAULT_LIFETIME_SECONDS, Rollout())


def test_arguments_must_be_accepted_by_every_target() -> None:
    assert planned([machine("a", LONG), machine("b", SHORT)], "message", text="abc").arguments == {"text": "abc"}
    with pytest.raises(ArgumentError, match="text must have 3 characters at most") as refused:
        planned([machine("a", LONG), machine("b", SHORT)], "message", text="abcd")
    assert refused.value.machine == "b"
    with pytest.raises(ArgumentError, match="there is no argument volume"):
        planned([machine("a", LONG)], "message", volume=11)


def test_a_plan_keeps_the_arguments_it_was_made_with() -> None:
    given = {"text": "abc"}
    selected = [machine("a", LONG)]
    plan = ActionPlan.of(selected, list_offers(selected)[0], given)
    given["text"] = "x"
    assert plan.arguments == {"text": "abc"}


def test_machines_that_trust_other_keys_only_are_named() -> None:
    plan = planned([machine("a", PING, keys=("k1",)), machine("b", PING, keys=("k1", "k2")), machine("c", PING)])
    assert plan.rejecting("k2") == ["a"]
    assert plan.rejecting("k1") == []


def test_the_confirmation_is_the_name_of_one_machine_or_the_number_of_several() -> None:
    assert planned([machine("a", REBOOT)], "reboot").confirmation == "a"
    assert planned([machine("a", REBOOT), machine("b", REBOOT)], "reboot").confirmation == "2"
    assert planned([machine("a", REBOOT)], "reboot").is_disruptive
    assert not planned([machine("a", PING)]).is_disruptive


@pytest.mark.parametrize("action", ["reboot", "restart", "run", "move"])
def test_an_action_that_takes_machines_down_runs_at_a_pace_on_more_than_five(action: str) -> None:
    assert default_rollout(action, 5) == Rollout()
    assert default_rollout(action, 6) == Rollout(canary=2, per_minute=10, stop_percent=20)
    assert default_rollout("ping", 1000) == Rollout()


def test_a_careful_rollout_of_a_large_fleet_is_sent_before_its_orders_expire() -> None:
    for machines in (6, 300, 301, 5_000, 10_000):
        rate = default_rollout("reboot", machines).per_minute
        assert rate is not None
        assert machines / rate * 60 <= DEFAULT_LIFETIME_SECONDS / 2


def test_canaries_are_online_machines() -> None:
    selected = [machine(f"m{i}", REBOOT, presence="offline" if i < 3 else "online") for i in range(7)]
    plan = planned(selected, "reboot")
    assert plan.rollout.canary == 2
    assert plan.names == ("m3", "m4", "m5", "m6", "m0", "m1", "m2")


def test_what_was_asked_for_replaces_the_default_pace() -> None:
    selected = [machine(f"m{i}", REBOOT) for i in range(7)]
    offer = list_offers(selected)[0]
    assert ActionPlan.of(selected, offer, {}, rollout=Rollout()).rollout == Rollout()


def test_reboot_and_run_are_dangerous_and_typed_where_they_can_do_most() -> None:
    run = described("run")
    plans = [planned([machine("a", each)], each["name"]) for each in (PING, run, REBOOT)]
    assert [(plan.is_dangerous, plan.is_typed) for plan in plans] == [(False, False), (True, False), (True, True)]
    assert planned([machine("a", run), machine("b", run)], "run").is_typed


def test_arguments_are_named_as_the_machines_title_them() -> None:
    titled = described("reboot", delay_minutes={"type": "integer", "title": "Delay in minutes"})
    untitled = described("reboot", delay_minutes={"type": "integer"})
    plan = planned([machine("a", titled), machine("b", titled)], "reboot", delay_minutes=5)
    assert plan.titled_arguments == [("Delay in minutes", 5)]
    assert planned([machine("a", untitled)], "reboot", delay_minutes=5).titled_arguments == [("delay_minutes", 5)]


def groups(*labels: dict[str, str]) -> list[tuple[str, list[str]]]:
    targets = [machine(f"m{i}", PING, labels=each) for i, each in enumerate(labels)]
    return [(label, [target.name for target in found]) for label, found in grouped(targets)]


def test_machines_are_grouped_by_the_label_that_most_of_them_have() -> None:
    paris, lyon = {"site": "paris", "rack": "1"}, {"site": "lyon", "rack": "2"}
    assert groups(paris, lyon, paris, {}) == [("rack=1", ["m0", "m2"]), ("rack=2", ["m1"]), ("", ["m3"])]
    assert groups(paris, {"site": "lyon"}, {"site": "paris"}) == [("site=lyon", ["m1"]), ("site=paris", ["m0", "m2"])]


def test_a_label_that_divides_nothing_makes_no_groups() -> None:
    assert groups({"serial": "1"}, {"serial": "2"}) == [("", ["m0", "m1"])]
    assert groups({"site": "paris"}) == [("", ["m0"])]
    assert groups({}, {}) == [("", ["m0", "m1"])]
