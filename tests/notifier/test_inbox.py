"""Messages of the broker as problems, with a controlled clock."""

from clocks import Clock

from broker.client.transport import Message
from notifier.domain.problem import Problem
from notifier.inbox import ABSENT_SECONDS, CLEARED_SECONDS, Inbox
from schemas.contract import topics
from schemas.contract.alerts import (
    INCIDENT_SEVERITIES,
    Acknowledgement,
    AlertMessage,
    IncidentMessage,
    ResolvedMessage,
)

LEVELS = {"org": "home", "machine": "attic", "rule": "cpu"}
ALERT = AlertMessage(rule="cpu", title="High CPU usage", severity="critical", since=5000, id=7)


def alert(**more: object) -> Message:
    return Message(topics.ALERT.at(**LEVELS), ALERT.model_copy(update=more).encode(), 1, retain=True)


def resolved(**more: object) -> Message:
    fields = {**ALERT.model_dump(), "until": 9000, **more}
    return Message(topics.RESOLVED.at(**LEVELS), ResolvedMessage.model_validate(fields).encode(), 1, retain=True)


CLEARED = Message(topics.ALERT.at(**LEVELS), b"", 1, retain=True)


def read(inbox: Inbox, message: Message) -> Problem:
    found = inbox.read(message)
    assert found is not None
    return found


def nothing() -> list[Problem]:
    return []


def test_the_fields_of_an_alert_reach_the_problem(clock: Clock) -> None:
    inbox = Inbox(clock, lambda: True)
    acknowledged = Acknowledgement(by="ada", at=6000)
    more = {"hostname": "attic.local", "labels": {"site": "x"}, "value": 97.5, "unit": "percent"}
    found = read(inbox, alert(**more, acknowledged=acknowledged, silenced_until=8000))
    assert (found.org, found.machine, found.key, found.since) == ("home", "attic", "alert/7", 5000)
    assert (found.hostname, found.labels, found.value, found.unit) == ("attic.local", {"site": "x"}, 97.5, "percent")
    assert (found.acknowledged_by, found.acknowledged_at, found.silenced_until) == ("ada", 6000, 8000)


def test_an_alert_without_an_id_is_known_by_machine_rule_and_begin(clock: Clock) -> None:
    assert read(Inbox(clock, lambda: True), alert(id=None)).key == "attic/cpu/5000"


def test_the_end_of_an_alert_is_the_time_that_its_message_states(clock: Clock) -> None:
    inbox = Inbox(clock, lambda: True)
    read(inbox, alert())
    assert inbox.read(CLEARED) is None
    assert read(inbox, resolved()).until == 9000
    clock.advance(CLEARED_SECONDS + 1)
    assert inbox.over(nothing) == []


def test_an_alert_that_is_cleared_without_an_end_is_over_after_a_while(clock: Clock) -> None:
    inbox = Inbox(clock, lambda: True)
    known = read(inbox, alert())
    inbox.read(CLEARED)
    assert inbox.over(nothing) == []
    clock.advance(CLEARED_SECONDS)
    (over,) = inbox.over(nothing)
    assert (over.key, over.until) == (known.key, clock.now())


def test_an_alert_that_is_cleared_and_shown_again_lasts(clock: Clock) -> None:
    inbox = Inbox(clock, lambda: True)
    read(inbox, alert())
    inbox.read(CLEARED)
    read(inbox, alert())
    clock.advance(CLEARED_SECONDS + 1)
    assert inbox.over(nothing) == []


def test_alerts_that_are_not_shown_are_over_only_while_an_ingestor_runs_and_the_connection_lasts(clock: Clock) -> None:
    runs = False
    inbox = Inbox(clock, lambda: runs)
    known = Problem("home", "alert/1", "cpu", "critical", 1, "cellar")
    inbox.load([known])
    inbox.connected()
    clock.advance(ABSENT_SECONDS + 1)
    assert inbox.over(lambda: [known]) == []
    inbox.disconnected()
    runs = True
    assert inbox.over(lambda: [known]) == []
    inbox.connected()
    clock.advance(ABSENT_SECONDS - 1)
    assert inbox.over(lambda: [known]) == []
    clock.advance(1)
    assert [each.key for each in inbox.over(lambda: [known])] == ["alert/1"]
    assert inbox.over(lambda: [known]) == []


def test_an_incident_is_a_problem_of_its_organisation(clock: Clock) -> None:
    message = IncidentMessage(id=3, kind="mass-silence", since=1, machines=("a", "b"), machine_count=70, label="site=x")
    topic = topics.INCIDENT.at(org="home", incident="3")
    found = read(Inbox(clock, lambda: True), Message(topic, message.encode(), 1, retain=True))
    assert (found.key, found.rule, found.machines, found.machine_count) == (
        "incident/3",
        "mass-silence",
        ("a", "b"),
        70,
    )
    assert found.is_incident
    assert found.until is None


def test_an_incident_has_the_severity_that_the_dashboard_shows(clock: Clock) -> None:
    for kind, severity in {**INCIDENT_SEVERITIES, "of-a-later-version": "warning"}.items():
        topic = topics.INCIDENT.at(org="home", incident="3")
        message = Message(topic, IncidentMessage(id=3, kind=kind, since=1).encode(), 1, retain=True)
        assert read(Inbox(clock, lambda: True), message).severity == severity
    assert set(INCIDENT_SEVERITIES.values()) == {"critical", "warning"}


def test_a_past_alert_is_one_that_was_never_active(clock: Clock) -> None:
    assert read(Inbox(clock, lambda: True), resolved(past=True)).past


def test_messages_that_are_not_its_business_or_cannot_be_read_are_ignored(clock: Clock) -> None:
    inbox = Inbox(clock, lambda: True)
    for topic, payload in (("x/y", b"1"), (topics.ALERT.at(**LEVELS), b"{"), (topics.RESOLVED.at(**LEVELS), b"[]")):
        assert inbox.read(Message(topic, payload)) is None
    assert inbox.unreadable == 2
