"""The confirmation of `dashfleet act`: what it says of the plan, and which answers send it."""

import json

import pytest

from cli.act.confirmation import confirm, describe, pace
from runtime.errors import UserError
from schemas.actions.action_catalogue import Target, list_offers, make_target
from schemas.actions.action_plan import ActionPlan
from schemas.contract.commands import Rollout

_DELAY = {"type": "integer", "title": "Delay in minutes"}
_ACTIONS = json.dumps(
    [
        {"name": "ping", "title": "Ping", "arguments_schema": {}},
        {"name": "reboot", "title": "Reboot", "arguments_schema": {"properties": {"delay_minutes": _DELAY}}},
    ]
)


def target(name: str, *, site: str, presence: str = "online") -> Target:
    return make_target(name, hostname=None, presence=presence, actions=_ACTIONS, keys="[]", labels={"site": site})


PARIS = [target(f"web-{i}", site="paris") for i in range(5)]
FLEET = [*PARIS, target("till", site="lyon", presence="offline"), target("\x1b[2Jevil", site="lyon")]


def planned(action: str, targets: list[Target], **arguments: object) -> ActionPlan:
    return ActionPlan.of(targets, next(each for each in list_offers(targets) if each.name == action), arguments)


def test_it_states_titles_groups_presence_and_pace_and_neutralises_names() -> None:
    assert describe(planned("reboot", FLEET, delay_minutes=5)) == [
        "WARNING: Reboot on 7 machines",
        "  Delay in minutes: 5",
        "  site=lyon: \N{REPLACEMENT CHARACTER}[2Jevil, till (offline)",
        "  site=paris: web-0, web-1, web-2, web-3, web-4",
        "  Pace: 2 first, then 10 per minute, stop at 20 % failures",
    ]
    assert describe(planned("ping", FLEET))[0] == "Ping on 7 machines"
    assert describe(planned("ping", FLEET))[-1] == "  Pace: all at once"


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        (Rollout(), "all at once"),
        (Rollout(canary=1), "1 first, then all others at once"),
        (Rollout(per_minute=5, stop_percent=2.5), "5 per minute, stop at 2.5 % failures"),
    ],
)
def test_every_pace_has_words(rollout: Rollout, words: str) -> None:
    assert pace(rollout) == words


@pytest.mark.parametrize(
    ("plan", "question", "answer"),
    [
        (planned("reboot", FLEET), "Type 7 to confirm", "7"),
        (planned("reboot", PARIS[:1]), "Type web-0 to confirm", "web-0"),
        (planned("ping", PARIS), "Continue? [y/N]", "y"),
    ],
)
def test_only_the_right_answer_sends_it(plan: ActionPlan, question: str, answer: str) -> None:
    asked: list[str] = []

    def reply(wanted: str) -> str:
        asked.append(wanted)
        return answer

    confirm(plan, reply)
    assert asked == [question]
    for wrong in ("", "6", "no"):
        with pytest.raises(UserError, match="nothing was sent"):
            confirm(plan, dict.fromkeys([question], wrong).__getitem__)


def test_one_harmless_order_is_not_asked_about_and_nobody_is_asked_without_a_terminal() -> None:
    confirm(planned("ping", PARIS[:1]), None)
    with pytest.raises(UserError, match="add --yes"):
        confirm(planned("ping", PARIS), None)
