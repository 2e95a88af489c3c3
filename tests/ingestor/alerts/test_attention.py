"""Acknowledged and silenced alerts on a real ingestor: what is published, and that nothing recorded changes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from acting import Operator
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select, update

from ingestor.admin import silences
from ingestor.alerts.attention import RELOAD_SECONDS, RESTART_SECONDS
from ingestor.domain.alert import Alert
from ingestor.domain.batch import Batch
from schemas.contract import topics
from schemas.contract.alerts import (
    DAYS,
    Acknowledge,
    AddSilence,
    AlertMessage,
    EndSilence,
    ResolvedMessage,
    Unacknowledge,
    Weekly,
)
from schemas.contract.machine_selector import MachineSelector
from schemas.database import tables

LEVELS = {"org": "home", "machine": "attic", "rule": "away"}
AWAY, RESOLVED = topics.ALERT.at(**LEVELS), topics.RESOLVED.at(**LEVELS)
NANTES = MachineSelector(labels={"site": "nantes"})
SOON = RELOAD_SECONDS + 1


def alert(bench: Bench) -> AlertMessage | None:
    kept = bench.broker.retained.get(AWAY)
    return None if kept is None else AlertMessage.decode(kept.payload)


def silenced(bench: Bench) -> tuple[int | None, str]:
    found = alert(bench)
    assert found is not None
    return found.silenced_until, found.silence_reason


def rows(fleet: Engine) -> list[Any]:
    with fleet.connect() as connection:
        return list(connection.execute(select(tables.alert).order_by(tables.alert.c.id)))


def wait(bench: Bench, seconds: float) -> None:
    bench.step(0.5, steps=round(seconds / 0.5))


def report(bench: Bench, speaker: Speaker) -> None:
    bench.publish(speaker.status(), speaker.info(labels={"site": "nantes"}))
    wait(bench, 1)


def be_away(bench: Bench, speaker: Speaker) -> None:
    """The machine is lost for long enough to have an alert."""
    report(bench, speaker)
    bench.publish(speaker.status("lost"))
    wait(bench, 75)


def come_back(bench: Bench, speaker: Speaker) -> None:
    speaker.session += 1
    bench.publish(speaker.status())
    wait(bench, 70)


def add(fleet: Engine, clock: Clock, **fields: object) -> int:
    """Add a silence as an admin command does; returns its number."""
    wanted = AddSilence.model_validate({"reason": "test", "selector": NANTES, **fields})
    return int(silences.change(fleet, "home", wanted, "ann", clock.now()).partition(":")[0])


def test_an_acknowledged_alert_says_by_whom_and_why_until_it_is_resolved(
    bench: Bench, speaker: Speaker, clock: Clock, make_bench: Callable[[], Bench]
) -> None:
    be_away(bench, speaker)
    found = alert(bench)
    assert found is not None
    assert found.acknowledged is None
    bench.publish(Operator(clock, level="robot").administer(Acknowledge(alerts=(found.id or 0,), comment="I go there")))
    wait(bench, 1)
    found = alert(bench)
    assert found is not None
    assert found.acknowledged is not None
    assert (found.acknowledged.by, found.acknowledged.comment) == ("Ada", "I go there")
    second = make_bench()  # it outlives a restart
    assert alert(second) == found
    come_back(second, speaker)
    assert alert(second) is None
    ended = ResolvedMessage.decode(second.broker.retained[RESOLVED].payload)
    assert ended.acknowledged == found.acknowledged
    bench.broker.retained.clear()
    be_away(second, speaker)
    again = alert(second)
    assert again is not None
    assert again.acknowledged is None


def test_an_alert_whose_acknowledgement_is_withdrawn_is_published_as_it_was_before(
    bench: Bench, speaker: Speaker, clock: Clock
) -> None:
    be_away(bench, speaker)
    before = alert(bench)
    assert before is not None
    robot = Operator(clock, level="robot")
    for kind in (Acknowledge, Unacknowledge):
        change = kind(alerts=(before.id or 0,))
        bench.publish(robot.administer(change))
        wait(bench, 1)
        found = alert(bench)
        assert found is not None
        assert (found.acknowledged is not None) is isinstance(change, Acknowledge)
    assert found == before


def test_an_alert_that_begins_during_a_silence_is_silenced_from_its_first_message_and_told_when_it_ends(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    report(bench, speaker)
    began, published = clock.now(), list[AlertMessage]()
    add(fleet, clock, lifetime_seconds=200, reason="new switch")
    route = bench.broker.route

    def noting(message: Any) -> None:  # noqa: ANN401
        if message.topic == AWAY and message.payload:
            published.append(AlertMessage.decode(message.payload))
        route(message)

    bench.broker.route = noting  # type: ignore[method-assign]
    wait(bench, SOON)
    bench.publish(speaker.status("lost"))
    wait(bench, 100)
    assert [(each.silenced_until, each.silence_reason) for each in published] == [(began + 200_000, "new switch")]
    wait(bench, 100)
    assert [each.silenced_until for each in published] == [began + 200_000, None]
    assert published[1] == published[0].model_copy(update={"silenced_until": None, "silence_reason": ""})
    (row,) = rows(fleet)
    assert (row.started_at, row.ended_at, row.silenced_until) == (published[0].since, None, None)


def test_a_silence_that_a_command_adds_applies_to_the_next_alert_at_once(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    report(bench, speaker)
    bench.publish(speaker.status("lost"))
    published = list[AlertMessage]()
    route = bench.broker.route

    def noting(message: Any) -> None:  # noqa: ANN401
        if message.topic == AWAY and message.payload:
            published.append(AlertMessage.decode(message.payload))
        route(message)

    bench.broker.route = noting  # type: ignore[method-assign]
    wait(bench, 58)
    assert published == []
    while not published:
        reason = f"added at {clock.now()}"
        number = add(fleet, clock, lifetime_seconds=60, reason=reason)
        wait(bench, 0.5)
        if not published:
            silences.change(fleet, "home", EndSilence(id=number), "ann", clock.now())
    assert published[0].silence_reason == reason


def test_a_silence_in_the_middle_of_an_alert_applies_and_ends_within_seconds_and_changes_no_record(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    be_away(bench, speaker)
    (before,) = rows(fleet)
    began, number = clock.now(), add(fleet, clock, lifetime_seconds=3600)
    wait(bench, SOON)
    assert silenced(bench) == (began + 3_600_000, "test")
    silences.change(fleet, "home", EndSilence(id=number), "ann", clock.now())
    wait(bench, SOON)
    assert silenced(bench) == (None, "")
    (after,) = rows(fleet)
    assert after == before
    with fleet.connect() as connection:
        assert connection.scalars(select(tables.state.c.presence)).all() == ["offline"]


def test_a_request_is_effective_at_once(bench: Bench, speaker: Speaker, clock: Clock) -> None:
    be_away(bench, speaker)
    bench.publish(Operator(clock, level="robot").administer(AddSilence(reason="now", lifetime_seconds=60)))
    wait(bench, 1)
    assert silenced(bench)[1] == "now"


@pytest.mark.parametrize(
    "fields",
    [
        {"selector": {"labels": {"site": "lyon"}}},
        {"selector": {"machines": ["cellar"]}},
        {"rule": "disk"},
        {"starts_in": 3600},
    ],
    ids=["label", "machine", "rule", "planned"],
)
def test_a_silence_of_something_else_does_not_apply(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock, fields: dict[str, Any]
) -> None:
    planned = {"starts_at": clock.now() + 3_600_000} if "starts_in" in fields else fields
    add(fleet, clock, lifetime_seconds=3600, **planned)
    be_away(bench, speaker)
    assert silenced(bench) == (None, "")


def test_a_silence_of_another_organisation_does_not_apply(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    silences.change(fleet, "office", AddSilence(reason="theirs", lifetime_seconds=3600), "eve", clock.now())
    be_away(bench, speaker)
    assert silenced(bench) == (None, "")


def test_a_silence_follows_the_labels_of_the_machine(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    add(fleet, clock, lifetime_seconds=3600)
    be_away(bench, speaker)
    assert silenced(bench)[1] == "test"
    bench.publish(speaker.info(labels={"site": "lyon"}))
    bench.publish(speaker.status("lost"))
    wait(bench, 2)
    found = alert(bench)
    assert found is None or found.silenced_until is None


def test_a_weekly_window_silences_while_it_lasts(bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock) -> None:
    be_away(bench, speaker)
    minutes = clock.now() // 60_000
    at = [f"{(minutes + later) // 60 % 24:02}:{(minutes + later) % 60:02}" for later in (2, 4)]
    add(fleet, clock, weekly=Weekly(days=DAYS, start=at[0], end=at[1], zone="UTC").model_dump())
    begins, ends = (minutes + 2) * 60_000, (minutes + 4) * 60_000
    while clock.now() < begins - 2000:
        wait(bench, 1)
    assert silenced(bench) == (None, "")
    while clock.now() < begins + 2000:
        wait(bench, 1)
    assert silenced(bench)[0] == ends
    while clock.now() < ends + 2000:
        wait(bench, 1)
    assert silenced(bench) == (None, "")


def test_a_clock_that_is_far_ahead_for_a_moment_ends_no_silence(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    be_away(bench, speaker)
    until = clock.now() + 7_200_000
    add(fleet, clock, lifetime_seconds=7200)
    wait(bench, SOON)
    assert silenced(bench)[0] == until
    clock.set_by(86_400)
    wait(bench, 2 * SOON)
    assert silenced(bench)[0] is None
    clock.set_by(-86_400)
    wait(bench, 2 * SOON)
    assert silenced(bench)[0] == until


def restart(fleet: Engine, clock: Clock, **values: object) -> None:
    """Record a reboot of the attic that runs."""
    with fleet.begin() as connection:
        home = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == "home"))
        request = {"principal": "_dashboard", "actor": "ada", "kind": "act", "batch": "b", "state": "accepted"}
        connection.execute(tables.request.insert().values(id="r", org_id=home, created_at=clock.now(), **request))
        machine = connection.scalar(select(tables.machine.c.id).where(tables.machine.c.org_id == home))
        fields = {"statement": "{}", "key": "k", "signature": "s", "expires_at": clock.now() + 10**7}
        row = {"id": "c", "machine_id": machine, "request_id": "r", "action": "reboot", "arguments": {}, **fields}
        row |= {"state": "running", "created_at": clock.now(), "running_at": clock.now(), **values}
        connection.execute(tables.command.insert().values(row))


def test_an_ordered_reboot_silences_its_machine_until_its_outcome(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    report(bench, speaker)
    ordered_at = clock.now()
    restart(fleet, clock)
    be_away(bench, speaker)
    assert silenced(bench) == (ordered_at + RESTART_SECONDS * 1000, "reboot ordered by ada")
    with fleet.begin() as connection:
        connection.execute(update(tables.command).values(state="failed"))
    wait(bench, SOON)
    assert silenced(bench) == (None, "")


def test_an_ordered_reboot_without_an_outcome_silences_its_machine_for_a_bounded_time(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    report(bench, speaker)
    restart(fleet, clock, state="timed-out")
    be_away(bench, speaker)
    assert silenced(bench)[1] == "reboot ordered by ada"
    bench.step(5, steps=RESTART_SECONDS // 5)
    assert silenced(bench) == (None, "")


def test_a_reboot_with_a_delay_silences_its_machine_from_its_time_on(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    report(bench, speaker)
    restart(fleet, clock, arguments={"delay_seconds": 300})
    be_away(bench, speaker)
    assert silenced(bench) == (None, "")
    bench.step(5, steps=60)
    assert silenced(bench)[1] == "reboot ordered by ada"


@pytest.mark.parametrize("arguments", [{"delay_seconds": "x"}, {"delay_seconds": -5}, {"delay_seconds": 1e9}, [], None])
def test_arguments_that_are_no_delay_do_no_harm(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock, arguments: object
) -> None:
    report(bench, speaker)
    restart(fleet, clock, arguments=arguments)
    be_away(bench, speaker)
    assert silenced(bench)[1] == "reboot ordered by ada"


def test_an_alert_that_lies_in_the_past_and_within_a_silence_is_silenced_too(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    report(bench, speaker)
    began = clock.now()
    add(fleet, clock, lifetime_seconds=3600, reason="roof work")
    bench.step(60, steps=62)
    attention, batch = bench.ingestor._monitor._attention, Batch()
    times = ((began + 60_000, began + 600_000), (began + 60_000, clock.now()), (began - 60_000, began + 600_000))
    batch.alerts = [Alert(1, "home", "attic", "disk", "Disk", "critical", *span(*each), past=True) for each in times]
    attention.apply(batch, [])
    covered = [(each.silenced_until, each.silence_reason) for each in batch.alerts]
    assert covered == [(began + 3_600_000, "roof work"), (None, ""), (None, "")]


@pytest.mark.parametrize(
    ("state", "outcome", "ended", "is_silent"),
    [
        ("succeeded", 300, 200, True),
        ("succeeded", 300, 400, False),
        ("failed", 300, 200, True),
        ("timed-out", 100, 200, True),
        ("running", None, RESTART_SECONDS - 1, True),
        ("running", None, RESTART_SECONDS + 1, False),
    ],
)
def test_an_alert_that_lies_in_the_past_and_within_an_ordered_reboot_is_silenced_too(
    bench: Bench, fleet: Engine, clock: Clock, state: str, outcome: int | None, ended: int, *, is_silent: bool
) -> None:
    ordered_at = clock.now()
    ended_at = None if outcome is None else ordered_at + outcome * 1000
    restart(fleet, clock, state=state, ended_at=ended_at)
    bench.step(60, steps=62)
    batch = Batch()
    spans = ((ordered_at + 1000, ordered_at + 1000 * ended), (ordered_at - 1000, ordered_at + 100_000))
    batch.alerts = [Alert(1, "home", "attic", "disk", "Disk", "critical", *span(*each), past=True) for each in spans]
    bench.ingestor._monitor._attention.apply(batch, [])
    reason = "reboot ordered by ada" if is_silent else ""
    assert [each.silence_reason for each in batch.alerts] == [reason, ""]
    bound = RESTART_SECONDS if state in ("running", "timed-out") else outcome or 0
    assert batch.alerts[0].silenced_until == (ordered_at + bound * 1000 if is_silent else None)


def test_a_reboot_with_a_delay_silences_no_alert_that_was_over_before_its_time(
    bench: Bench, fleet: Engine, clock: Clock
) -> None:
    ordered_at = clock.now()
    restart(fleet, clock, state="succeeded", ended_at=ordered_at + 700_000, arguments={"delay_seconds": 300})
    bench.step(60, steps=62)
    spans = ((ordered_at + 1000, ordered_at + 2000), (ordered_at + 301_000, ordered_at + 302_000))
    made = [Alert(1, "home", "attic", "disk", "Disk", "critical", *span(*each), past=True) for each in spans]
    bench.ingestor._monitor._attention.apply(batch := Batch(alerts=made), [])
    assert [each.silenced_until for each in batch.alerts] == [None, ordered_at + 700_000]


def span(started_at: int, ended_at: int) -> tuple[int, str, int]:
    """The begin, an empty detail, and the end of an alert."""
    return started_at, "", ended_at


def test_a_correction_and_a_silence_in_one_batch_are_both_stored(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    be_away(bench, speaker)
    (row,) = rows(fleet)
    monitor = bench.ingestor._monitor
    (active,) = monitor.retained.active
    ended = replace(active, ended_at=clock.now(), closed_at=clock.now())
    silences.change(fleet, "home", AddSilence(reason="now", lifetime_seconds=60), "ann", clock.now())
    batch = Batch(alerts=[ended])
    monitor._attention.load()
    monitor._attention.apply(batch, monitor.retained.active)
    assert batch.alerts == [ended]
    monitor.retained.committed(batch)
    bench.step()
    assert AWAY not in bench.broker.retained
    assert ResolvedMessage.decode(bench.broker.retained[RESOLVED].payload).id == row.id
    monitor.retained.committed(Batch(alerts=[replace(ended, ended_at=None, closed_at=None)]))
    bench.step()
    assert RESOLVED not in bench.broker.retained
    assert AWAY in bench.broker.retained


def test_a_silence_that_follows_another_begins_for_its_own_alerts_when_it_begins(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    be_away(bench, speaker)
    began = clock.now()
    add(fleet, clock, lifetime_seconds=60, selector={"machines": ["cellar"]}, reason="first")
    add(fleet, clock, lifetime_seconds=60, starts_at=began + 30_000, selector={"machines": ["attic"]}, reason="then")
    wait(bench, SOON + 10)
    assert silenced(bench) == (None, "")
    wait(bench, 20)
    assert silenced(bench) == (began + 90_000, "then")
    wait(bench, 60)
    assert silenced(bench) == (None, "")


def test_a_silence_that_a_newer_version_wrote_is_reported_once_and_the_others_apply(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    number = add(fleet, clock, lifetime_seconds=3600, reason="from tomorrow")
    add(fleet, clock, lifetime_seconds=3600, reason="today")
    with fleet.begin() as connection:
        moon = {"phase": "full"}
        connection.execute(tables.silence.update().where(tables.silence.c.id == number).values(weekly=moon))
    be_away(bench, speaker)
    wait(bench, SOON)
    assert silenced(bench)[1] == "today"
    told = [record.getMessage() for record in caplog.records if "is ignored" in record.getMessage()]
    assert told == [f"the silence {number} of home is ignored: a newer version of DashFleet wrote it"]
