"""What the notifier decides to send, with a controlled clock."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.domain.flapping import HOUR
from notifier.domain.matching import Recipient
from notifier.domain.planner import ITEMS_MAX, Known, Notice, Planner
from notifier.domain.problem import NoticeKind, Problem
from schemas.people.routing import Preferences, QuietWindow, Route

NOW = 1_780_000_000_000
SECOND, MINUTE = 1000, 60_000


class Simulation:
    """A planner, its clock, and what it has sent."""

    def __init__(self, *recipients: Recipient, known: list[Known] | None = None, now: int = NOW) -> None:
        self.now = now
        self.planner = Planner(known or [])
        self.planner.configure(recipients or (to(1),), now)
        self.sent: list[tuple[int, Notice]] = []
        self.busy: set[int] = set()

    def step(self) -> None:
        self.sent += [
            (self.now, notice) for notice in self.planner.due(self.now, self.busy.__contains__) if notice.told
        ]

    def run(self, milliseconds: int, every: int = SECOND) -> None:
        for _ in range(0, milliseconds, every):
            self.now += every
            self.step()

    def observe(self, *problems: Problem) -> None:
        for each in problems:
            self.planner.observe(each, self.now)

    def end(self, problem: Problem) -> None:
        self.observe(replace(problem, until=self.now))

    def told(self, id_: int = 1) -> list[tuple[str, str]]:
        return [
            (item.kind.value, item.problem.key)
            for _, notice in self.sent
            if notice.recipient.id == id_
            for item in notice.told
        ]

    def kinds(self, id_: int = 1) -> list[str]:
        return [kind for kind, _ in self.told(id_)]


def to(id_: int, *routes: Route, org: str = "acme", since_at: int = 0, **preferences: object) -> Recipient:
    return Recipient(id_, org, since_at, Preferences.model_validate(preferences), routes)


def alert(key: str = "1", machine: str = "attic", rule: str = "cpu", since: int = NOW, **more: object) -> Problem:
    fields = {"severity": "critical", "org": "acme", **more}
    return Problem(key=key, machine=machine, rule=rule, since=since, **fields)  # type: ignore[arg-type]


def test_a_destination_without_routes_is_told_begin_and_end_of_every_alert_of_its_organisation_once() -> None:
    world = Simulation(to(1), to(2, org="other"))
    world.observe(alert())
    world.run(10 * SECOND)
    world.observe(alert(), alert(detail="98 %"))  # retained again, and changed
    world.run(10 * SECOND)
    world.end(alert())
    world.run(10 * SECOND)
    world.observe(alert())  # an old retained message
    world.run(MINUTE)
    assert world.told() == [("problem", "1"), ("recovery", "1")]
    assert world.told(2) == []


def test_alerts_that_begin_within_the_group_time_share_a_message_unless_their_labels_differ() -> None:
    world = Simulation(to(1, group_seconds=5), to(2, group_seconds=5, group_by=["site"]))
    world.observe(alert("1", labels={"site": "a"}), alert("2", machine="b", labels={"site": "b"}))
    world.run(3 * SECOND)
    world.observe(alert("3", machine="c", labels={"site": "a"}))
    world.run(30 * SECOND)
    sizes = {id_: [len(notice.told) for _, notice in world.sent if notice.recipient.id == id_] for id_ in (1, 2)}
    assert sizes == {1: [3], 2: [2, 1]}
    assert world.sent[0][0] <= NOW + 6 * SECOND


def test_what_becomes_due_while_a_message_is_under_way_shares_the_next_one_and_delays_no_other_destination() -> None:
    world = Simulation(to(1), to(2))
    world.busy = {1}
    world.observe(*(alert(str(n), machine=f"m{n}") for n in range(ITEMS_MAX + 5)))
    world.run(MINUTE)
    assert world.told() == []
    assert len(world.told(2)) == ITEMS_MAX + 5
    world.busy = set()
    world.run(2 * SECOND)
    assert [len(notice.told) for _, notice in world.sent if notice.recipient.id == 1] == [ITEMS_MAX, 5]


def test_routes_select_by_label_rule_machine_and_severity() -> None:
    routes = (Route(labels={"site": "nantes"}, rules=("cpu",)), Route(machines=("cellar",)))
    world = Simulation(to(1, *routes), to(2, severity="critical"), to(3, Route(severities=frozenset({"warning"}))))
    world.observe(
        alert("1", labels={"site": "nantes"}),
        alert("2", labels={"site": "nantes"}, rule="disk"),
        alert("3", machine="cellar", severity="warning"),
    )
    world.run(10 * SECOND)
    assert {key for _, key in world.told(1)} == {"1", "3"}
    assert {key for _, key in world.told(2)} == {"1", "2"}
    assert {key for _, key in world.told(3)} == {"3"}


def test_an_incident_goes_to_every_route_that_may_concern_it() -> None:
    incident = Problem(
        org="acme", key="incident/7", rule="mass-silence", severity="critical", since=NOW, label="site=nantes"
    )
    incident = replace(incident, machines=("a", "b"), machine_count=2)
    routes = {
        1: Route(labels={"site": "nantes"}),
        2: Route(labels={"site": "lyon"}),
        3: Route(labels={"rack": "4"}),
        4: Route(machines=("b",)),
        5: Route(machines=("z",)),
        6: Route(rules=("cpu",)),
    }
    world = Simulation(*(to(id_, route) for id_, route in routes.items()))
    world.observe(incident)
    world.run(10 * SECOND)
    assert [id_ for id_ in routes if world.told(id_)] == [1, 3, 4]


def test_a_thousand_machines_that_go_silent_at_once_are_one_message() -> None:
    world = Simulation()
    world.observe(
        Problem("acme", "incident/1", "mass-silence", "critical", NOW, machine_count=1000, machines=("a", "b"))
    )
    world.run(HOUR, every=10 * SECOND)
    assert world.kinds() == ["problem"]


def test_an_alert_that_late_data_show_to_last_is_told_again_after_its_end_was_told() -> None:
    world = Simulation(to(1), to(2, recovery=False))
    world.observe(alert())
    world.run(2 * SECOND)
    world.end(alert())
    world.run(2 * SECOND)
    assert world.kinds() == ["problem", "recovery"]
    world.observe(alert())  # retained, and perhaps older than the end
    world.run(2 * SECOND)
    assert world.kinds() == ["problem", "recovery"]
    world.planner.observe(alert(), world.now, live=True)
    world.run(2 * SECOND)
    world.end(alert())
    world.run(2 * SECOND)
    assert world.kinds() == ["problem", "recovery", "problem", "recovery"]
    assert world.kinds(2) == ["problem", "problem"]


def test_an_alert_that_goes_on_before_its_end_is_told_is_not_told_again() -> None:
    world = Simulation(to(1))
    world.observe(alert())
    world.run(2 * SECOND)
    world.end(alert())
    world.planner.observe(alert(), world.now, live=True)
    world.run(2 * SECOND)
    assert world.kinds() == ["problem"]


def test_a_clock_that_is_set_back_delays_no_message() -> None:
    world = Simulation(to(1, repeat_seconds=600))
    world.observe(alert())
    world.step()
    world.now -= HOUR
    world.run(2 * SECOND)
    assert world.kinds() == ["problem"]
    world.end(alert())
    world.run(2 * SECOND)
    assert world.kinds() == ["problem", "recovery"]


def test_reminders_repeat_until_the_alert_is_acknowledged() -> None:
    world = Simulation(to(1, repeat_seconds=600))
    world.observe(alert())
    world.run(25 * MINUTE)
    world.observe(alert(acknowledged_at=world.now, acknowledged_by="ada"))
    world.run(HOUR, every=10 * SECOND)
    world.end(alert(acknowledged_at=world.now))
    world.run(MINUTE)
    assert world.kinds() == ["problem", "reminder", "reminder", "recovery"]


def test_an_escalation_goes_out_unless_the_alert_is_acknowledged_or_over_by_then() -> None:
    second = to(2, Route(after_seconds=900))
    for what, expected in (("nothing", ["escalation"]), ("acknowledged", []), ("over", [])):
        world = Simulation(to(1), second)
        world.observe(alert())
        world.run(5 * MINUTE)
        if what == "acknowledged":
            world.observe(alert(acknowledged_at=world.now))
        elif what == "over":
            world.end(alert())
        world.run(HOUR, every=10 * SECOND)
        assert world.kinds(2) == expected, what
        assert world.kinds(1)[0] == "problem"


def test_an_alert_of_the_past_is_escalated_to_nobody_unless_it_lasted_for_the_delay() -> None:
    world = Simulation(to(1), to(2, Route(after_seconds=900)))
    world.observe(alert("brief", since=NOW - HOUR, until=NOW - 50 * MINUTE, past=True))
    world.observe(alert("long", machine="b", since=NOW - HOUR, until=NOW - 45 * MINUTE, past=True))
    world.run(HOUR, every=10 * SECOND)
    assert sorted(world.told(1)) == [("past", "brief"), ("past", "long")]
    assert world.told(2) == [("past", "long")]


def test_what_waits_for_its_time_is_planned_once_however_often_it_changes() -> None:
    silenced = alert(silenced_until=NOW + HOUR)
    world = Simulation()
    for number in range(200):
        world.observe(replace(silenced, detail=str(number)))
        world.planner.configure([to(1, repeat_seconds=300 + number)], world.now)
        world.step()
    assert len(world.planner._wakes) == 1
    world.run(HOUR + MINUTE, every=10 * SECOND)
    assert world.kinds() == ["problem"]
    assert len(world.planner._wakes) == 1


def test_a_problem_that_outlasts_a_silence_is_told_at_its_end_and_one_that_does_not_is_not() -> None:
    world = Simulation()
    silenced = alert("1", silenced_until=NOW + HOUR)
    world.observe(silenced, alert("2", machine="b", silenced_until=NOW + HOUR))
    world.run(30 * MINUTE, every=10 * SECOND)
    world.end(silenced)
    world.run(HOUR, every=10 * SECOND)
    assert world.told() == [("problem", "2")]
    assert world.sent[0][0] >= NOW + HOUR


def test_an_alert_that_lies_in_the_past_and_within_a_silence_is_not_told() -> None:
    world = Simulation()
    world.observe(alert(since=NOW - HOUR, until=NOW - 40 * MINUTE, past=True, silenced_until=NOW - 30 * MINUTE))
    world.run(HOUR)
    assert world.told() == []


def test_an_alert_that_lies_in_the_past_is_told_once_as_past() -> None:
    world = Simulation()
    late = alert(since=NOW - HOUR, until=NOW - 40 * MINUTE, past=True)
    world.observe(late)
    world.run(MINUTE)
    world.observe(late)
    world.run(MINUTE)
    assert world.told() == [("past", "1")]


def test_nothing_that_was_over_before_a_destination_existed_is_told_to_it() -> None:
    world = Simulation(to(1, since_at=NOW))
    world.observe(alert(since=NOW - HOUR, until=NOW - 1, past=True))
    world.run(MINUTE)
    assert world.told() == []


def test_a_new_destination_learns_of_the_alerts_that_last() -> None:
    world = Simulation(to(1))
    world.observe(alert("1"), alert("2", machine="b"))
    world.run(MINUTE)
    world.end(alert("1"))
    world.run(MINUTE)
    world.planner.configure((to(1), to(2, since_at=world.now)), world.now)
    world.run(MINUTE)
    assert world.told(2) == [("problem", "2")]
    assert len(world.told(1)) == 3


def test_routes_that_are_removed_do_not_bring_back_what_was_over_before() -> None:
    world = Simulation(to(1, Route(rules=("disk",))))
    world.observe(alert("1"), alert("2", rule="disk", machine="b"), alert("3", machine="c"))
    world.run(MINUTE)
    world.end(alert("1"))
    world.busy = {1}
    world.end(alert("2", rule="disk", machine="b"))
    world.run(MINUTE)
    world.busy = set()
    world.planner.configure([to(1, since_at=world.now)], world.now)
    world.run(MINUTE)
    assert sorted(world.told()) == [("problem", "2"), ("problem", "3"), ("recovery", "2")]
    again = Simulation(to(1, since_at=world.now), known=world.planner.changed(), now=world.now)
    again.run(MINUTE)
    assert again.told() == []


def test_a_machine_that_flaps_for_an_hour_produces_at_most_six_messages_and_every_alert_is_in_one() -> None:
    world = Simulation()
    keys = []
    for number in range(30):
        problem = alert(str(number), since=world.now)
        keys.append(problem.key)
        world.observe(problem)
        world.run(MINUTE)
        world.end(problem)
        world.run(MINUTE)
    assert len(world.sent) <= 6
    world.run(2 * HOUR, every=10 * SECOND)
    assert {key for _, key in world.told()} == set(keys)
    for start, _ in world.sent:
        assert sum(start <= at < start + HOUR for at, _ in world.sent) <= 6


def test_the_bound_for_one_machine_does_not_delay_another() -> None:
    world = Simulation()
    for number in range(10):
        problem = alert(str(number), since=world.now)
        world.observe(problem)
        world.run(MINUTE)
        world.end(problem)
        world.run(MINUTE)
    before = len(world.sent)
    world.observe(alert("other", machine="cellar"))
    world.run(2 * SECOND)
    assert world.told()[-1] == ("problem", "other")
    assert len(world.sent) == before + 1


def test_quiet_hours_hold_back_warnings_until_they_end_and_let_critical_alerts_through() -> None:
    noon = 1_780_315_200_000  # 2026-06-01 12:00 UTC
    window = QuietWindow(start="12:00", end="13:00")
    world = Simulation(to(1, quiet=[window]), now=noon)
    world.observe(alert("1", severity="warning"), alert("2", severity="critical", machine="b"))
    brief = alert("3", severity="warning", machine="c")
    world.observe(brief)
    world.run(10 * MINUTE)
    world.end(brief)
    assert world.told() == [("problem", "2")]
    world.run(HOUR, every=10 * SECOND)
    assert world.told() == [("problem", "2"), ("problem", "1")]
    assert world.sent[1][0] >= noon + HOUR


@pytest.mark.parametrize("count", [500])
def test_retained_alerts_that_come_again_after_a_restart_are_not_told_again(count: int) -> None:
    problems = [alert(str(n), machine=f"m{n}") for n in range(count)]
    world = Simulation()
    world.observe(*problems)
    world.run(MINUTE)
    assert len(world.told()) == count
    again = Simulation(known=world.planner.changed(), now=world.now)
    again.observe(*problems)
    again.run(HOUR, every=10 * SECOND)
    assert again.told() == []


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 5), st.sampled_from(["begin", "end", "acknowledge", "restart", "busy"]), st.integers(1, 900)
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_whatever_happens_every_alert_is_told_exactly_once_begin_before_end(
    actions: list[tuple[int, str, int]],
) -> None:
    world = Simulation()
    open_: dict[int, Problem] = {}
    begun: list[Problem] = []
    stored: dict[str, Known] = {}
    for source, what, seconds in actions:
        if what == "begin" and source not in open_:
            open_[source] = alert(f"k{len(begun)}", machine=f"m{source}", since=world.now)
            begun.append(open_[source])
            world.observe(open_[source])
        elif what == "end" and source in open_:
            world.end(open_.pop(source))
        elif what == "acknowledge" and source in open_ and ("problem", open_[source].key) in world.told():
            open_[source] = replace(open_[source], acknowledged_at=world.now)
            world.observe(open_[source])
        elif what == "busy":
            world.busy ^= {1}
        elif what == "restart":
            stored |= {known.problem.key: known for known in world.planner.changed()}
            sent, busy = world.sent, world.busy
            world = Simulation(known=list(stored.values()), now=world.now)
            world.sent, world.busy = sent, busy
            world.observe(*open_.values())
        world.run(seconds * SECOND, every=20 * SECOND)
    world.busy = set()
    world.run(3 * HOUR, every=MINUTE)
    told = Counter(world.told())
    assert all(count == 1 for count in told.values())
    for problem in begun:
        lasting = any(problem.key == each.key for each in open_.values())
        begin = told["problem", problem.key], told["past", problem.key]
        assert begin == ((1, 0) if lasting or told["recovery", problem.key] else (0, 1))
    assert not [item for _, notice in world.sent for item in notice.told if item.kind is NoticeKind.DROPPED]
