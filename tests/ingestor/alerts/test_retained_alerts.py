"""What the broker retains of alerts that ended and of incidents, for readers that were away."""

from collections.abc import Callable

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.access.policy import Principal, Role
from ingestor.admin import access
from ingestor.alerts.retained_alerts import KEPT_SECONDS
from ingestor.domain.incidents import common_label
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage, IncidentMessage, ResolvedMessage
from schemas.database import tables

LEVELS = {"org": "home", "machine": "attic", "rule": "away"}
AWAY = topics.ALERT.at(**LEVELS)
RESOLVED = topics.RESOLVED.at(**LEVELS)


def resolved(bench: Bench) -> ResolvedMessage | None:
    kept = bench.broker.retained.get(RESOLVED)
    return ResolvedMessage.decode(kept.payload) if kept is not None and kept.payload else None


def incidents(bench: Bench) -> list[IncidentMessage]:
    kept = bench.broker.retained.items()
    return [IncidentMessage.decode(message.payload) for topic, message in kept if "/_incidents/" in topic]


def wait(bench: Bench, seconds: float) -> None:
    bench.step(0.5, steps=round(seconds / 0.5))


def be_away(bench: Bench, speaker: Speaker) -> None:
    """The machine is lost for long enough to have an alert."""
    bench.publish(speaker.status(), speaker.info(labels={"site": "nantes"}))
    wait(bench, 1)
    bench.publish(speaker.status("lost"))
    wait(bench, 75)


def come_back(bench: Bench, speaker: Speaker) -> None:
    speaker.session += 1
    bench.publish(speaker.status())
    wait(bench, 70)


def test_an_alert_names_its_machine_its_labels_and_its_number(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    be_away(bench, speaker)
    alert = AlertMessage.decode(bench.broker.retained[AWAY].payload)
    with fleet.connect() as connection:
        assert alert.id == connection.scalar(select(tables.alert.c.id))
    assert (alert.hostname, alert.labels) == ("attic.example", {"site": "nantes"})
    assert resolved(bench) is None


def test_an_alert_that_ended_is_retained_for_an_hour_as_resolved(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    be_away(bench, speaker)
    come_back(bench, speaker)
    assert AWAY not in bench.broker.retained
    end = resolved(bench)
    assert end is not None
    with fleet.connect() as connection:
        row = connection.execute(select(tables.alert)).one()
    assert (end.id, end.since, end.until, end.past) == (row.id, row.started_at, row.ended_at, False)
    assert end.labels == {"site": "nantes"}
    bench.step(60, steps=KEPT_SECONDS // 60 - 2)
    assert resolved(bench) is not None
    bench.step(60, steps=3)
    assert RESOLVED not in bench.broker.retained


def test_an_end_is_published_again_after_a_start_and_cleared_when_its_hour_is_over(
    bench: Bench, speaker: Speaker, make_bench: Callable[[], Bench], clock: Clock
) -> None:
    be_away(bench, speaker)
    come_back(bench, speaker)
    kept = bench.broker.retained.pop(RESOLVED)  # the broker forgot it
    assert resolved(make_bench()) is not None
    bench.broker.retained[RESOLVED] = kept
    clock.advance(KEPT_SECONDS + 60)
    make_bench()
    assert RESOLVED not in bench.broker.retained


@pytest.fixture
def machines(bench: Bench, fleet: Engine, clock: Clock) -> list[Speaker]:
    """Twelve machines that have reported: four in Nantes, the others elsewhere."""
    speakers = [Speaker(clock, name=f"m{number:02}") for number in range(12)]
    for number, speaker in enumerate(speakers):
        access.add_principal(fleet, Principal(Role.MACHINE, "home", speaker.name), "made-up", now=clock.now)
        labels = {"env": "prod", "site": "nantes" if number < 4 else "lyon"}
        bench.publish(speaker.status(), speaker.info(labels=labels))
    wait(bench, 1)
    return speakers


def test_an_incident_is_retained_with_its_machines_and_their_label_until_an_hour_after_its_end(
    bench: Bench, machines: list[Speaker], make_bench: Callable[[], Bench]
) -> None:
    bench.publish(*(speaker.status("lost") for speaker in machines[:4]))
    wait(bench, 10)
    (incident,) = incidents(bench)
    assert (incident.kind, incident.machine_count, incident.label) == ("mass-silence", 4, "site=nantes")
    assert incident.machines == ("m00", "m01", "m02", "m03")
    assert incident.until is None
    bench.broker.retained.clear()
    bench = make_bench()
    assert incidents(bench) == [incident]
    for speaker in machines[:4]:
        speaker.session += 1
        bench.publish(speaker.status())
    wait(bench, 2)
    (ended,) = incidents(bench)
    assert ended.until is not None
    assert ended.until > incident.since
    bench.step(60, steps=KEPT_SECONDS // 60 + 2)
    assert [each for each in incidents(bench) if each.id == incident.id] == []


def test_an_incident_of_the_whole_system_is_published_to_no_organisation(bench: Bench) -> None:
    bench.broker.stop()
    bench.step(1.0, steps=3)
    bench.broker.start()
    bench.step(1.0, steps=3)
    assert incidents(bench) == []


def test_the_label_of_an_incident_is_the_one_that_tells_its_machines_from_the_others() -> None:
    labels = {
        "a": {"env": "prod", "site": "nantes"},
        "b": {"env": "prod", "site": "nantes"},
        "c": {"env": "prod", "site": "lyon"},
    }
    assert common_label(["a", "b"], labels) == "site=nantes"
    assert common_label(["a", "c"], labels) == "env=prod"
    assert common_label(["a"], labels) == ""
    assert common_label(["a", "gone"], labels) == ""
    assert common_label(["a", "b"], {"a": {}, "b": {"x": "y"}}) == ""
