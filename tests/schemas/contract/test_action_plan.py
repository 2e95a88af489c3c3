import json
from typing import Any

import pytest

from schemas.contract.action_catalogue import Target, list_offers, make_target
from schemas.contract.action_plan import DEFAULT_LIFETIME_SECONDS, ActionPlan
from schemas.contract.action_schema import ArgumentError
from schemas.contract.commands import Rollout


def described(name: str, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON Schema
    return {"name": name, "title": name.title(), "arguments_schema": {"properties": properties}}


def machine(name: str, *actions: dict[str, Any], keys: tuple[str, ...] = ()) -> Target:
    return make_target(name, hostname=None, presence="online", actions=json.dumps(actions), keys=json.dumps(keys))


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
