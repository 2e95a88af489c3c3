"""The derived presence that the broker retains for readers."""

from collections.abc import Callable

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, event

from broker.access.policy import Principal, Role
from broker.client.transport import Message
from ingestor.admin import access
from ingestor.presence import retained_presence
from ingestor.presence.retained_presence import HEALTH_SECONDS, REPEAT_SECONDS, SWEEP_SECONDS
from schemas.contract import topics
from schemas.contract.messages import Vitals
from schemas.contract.presence import PresenceMessage
from schemas.database.queries.machines import list_machines

ATTIC = topics.PRESENCE.at(org="home", machine="attic")
FULL = Vitals(cpu_percent=10.0, memory_percent=20.0, disk_percent=99.0)


def presence(bench: Bench, topic: str = ATTIC) -> PresenceMessage | None:
    kept = bench.broker.retained.get(topic)
    return PresenceMessage.decode(kept.payload) if kept is not None and kept.payload else None


def shown(bench: Bench) -> PresenceMessage:
    found = presence(bench)
    assert found is not None
    return found


def assert_as_in_the_database(bench: Bench, fleet: Engine) -> None:
    """Compare with what the command line and the dashboard show, of each machine that was ever heard."""
    rows = {
        topics.PRESENCE.at(org=row["org"], machine=row["machine"]): row
        for row in list_machines(fleet)
        if row["presence"] != "unknown"
    }
    found = {topic: presence(bench, topic) for topic in bench.broker.retained if "/_presence/" in topic}
    assert found.keys() == rows.keys()
    for topic, row in rows.items():
        one = found[topic]
        assert one is not None
        assert (one.presence, one.reason, one.verified) == (row["presence"], row["reason"], row["verified"])
        assert one.since == row["since"]


def count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """Return the presence messages that are published from now on, as they come."""
    found: list[Message] = []
    route = bench.broker.route

    def noted(message: Message) -> None:
        if "/_presence/" in message.topic:
            found.append(message)
        route(message)

    monkeypatch.setattr(bench.broker, "route", noted)
    return found


def test_a_machine_that_was_never_heard_has_none(bench: Bench, fleet: Engine) -> None:
    bench.step(1, steps=3)
    assert presence(bench) is None
    assert_as_in_the_database(bench, fleet)


def test_presence_is_published_with_everything_that_a_reader_shows(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    began = clock.now()
    bench.publish(speaker.status(), speaker.info(agent_version="0.2.0"), speaker.telemetry(1))
    bench.step()
    assert shown(bench) == PresenceMessage(
        presence="online",
        reason="connected",
        since=began,
        verified=True,
        last_seen=began,
        health="ok",
        display_name="attic.example",
        hostname="attic.example",
        agent_version="0.2.0",
    )
    assert_as_in_the_database(bench, fleet)


def test_a_machine_whose_hostname_does_not_say_its_id_is_told_from_others_of_this_hostname(
    bench: Bench, speaker: Speaker
) -> None:
    bench.publish(speaker.status(), speaker.info(hostname="localhost"))
    bench.step()
    assert shown(bench).display_name == "localhost (attic)"


def test_each_change_of_presence_is_published_in_the_step_that_stores_it(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    seen = shown(bench).last_seen
    for seconds, expected in ((46, ("stale", "silent")), (135, ("offline", "silent"))):
        bench.step(1, steps=seconds)
        assert (shown(bench).presence, shown(bench).reason) == expected
        assert (shown(bench).last_seen, shown(bench).health) == (seen, "unknown")
        assert_as_in_the_database(bench, fleet)
    speaker.session += 1
    bench.publish(speaker.status())
    bench.step()
    assert shown(bench).presence == "online"
    bench.publish(speaker.status("rebooting"))
    bench.step()
    assert (shown(bench).presence, shown(bench).reason) == ("offline", "rebooting")


def test_samples_that_change_nothing_visible_publish_nothing(
    bench: Bench, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(speaker.status(), speaker.info(), speaker.telemetry(1))
    bench.step()
    published = count(bench, monkeypatch)
    for seq in range(2, 60):
        bench.publish(speaker.telemetry(seq))
        bench.step(5)
    assert published == []


def test_health_that_swings_is_published_at_most_every_ten_seconds_and_its_last_state_always(
    bench: Bench, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    published = count(bench, monkeypatch)
    seconds = 40
    for seq in range(2, 2 + seconds):
        bench.publish(speaker.telemetry(seq, vitals=FULL if seq % 2 else None))
        bench.step(1)
    assert 2 <= len(published) <= seconds / HEALTH_SECONDS + 1
    bench.publish(speaker.telemetry(2 + seconds, vitals=FULL))
    bench.step()
    bench.step(1, steps=HEALTH_SECONDS + 1)
    assert shown(bench).health == "critical"


def test_open_alerts_are_counted_by_severity(bench: Bench, speaker: Speaker) -> None:
    bench.publish(speaker.status())
    bench.step()
    for seq in range(1, 80):
        bench.publish(speaker.telemetry(seq, vitals=FULL))
        bench.step(10)
    active = [topic for topic in bench.broker.retained if "/_alerts/" in topic]
    assert len(active) == shown(bench).alerts.warning + shown(bench).alerts.critical == 1
    for seq in range(80, 100):
        bench.publish(speaker.telemetry(seq))
        bench.step(10)
    assert (shown(bench).alerts.warning, shown(bench).alerts.critical) == (0, 0)


def test_nothing_is_published_before_its_commit(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    seen: list[PresenceMessage | None] = []
    event.listen(fleet, "commit", lambda _connection: seen.append(presence(bench)))
    bench.publish(speaker.status())
    bench.step()
    assert seen
    assert seen[0] is None
    assert shown(bench).presence == "online"


def test_a_broker_that_lost_everything_has_all_of_it_again_after_the_next_connect(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    bench.broker.stop()
    bench.step(1.0, steps=2)
    bench.broker.retained.clear()
    bench.broker.start()
    bench.step(1.0, steps=3)
    assert (shown(bench).presence, shown(bench).verified) == ("online", False)
    assert_as_in_the_database(bench, fleet)


def test_an_ingestor_that_starts_again_publishes_what_happened_meanwhile(
    bench: Bench, speaker: Speaker, fleet: Engine, make_bench: Callable[[], Bench], clock: Clock
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    bench.ingestor.stop()
    clock.advance(30)
    again = make_bench()
    assert (shown(again).presence, shown(again).verified) == ("online", False)
    again.step(1, steps=300)
    assert shown(again).presence == "offline"
    assert_as_in_the_database(again, fleet)


def test_everything_is_published_again_each_hour(bench: Bench, speaker: Speaker) -> None:
    bench.publish(speaker.status("stopped"))
    bench.step()
    bench.broker.retained.clear()
    bench.step(60, steps=REPEAT_SECONDS // 60 - 2)
    assert presence(bench) is None
    bench.step(60, steps=3)
    assert shown(bench).presence == "offline"


def test_a_step_publishes_a_bounded_number_of_machines_and_those_that_changed_first(
    bench: Bench, fleet: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_presence, "EACH_STEP", 4)
    speakers = [Speaker(clock, name=f"m{number:02}") for number in range(12)]
    for speaker in speakers:
        access.add_principal(fleet, Principal(Role.MACHINE, "home", speaker.name), "made-up", now=clock.now)
        bench.publish(speaker.status())
    bench.step(steps=4)
    bench.broker.stop()
    bench.step(1.0, steps=2)
    bench.broker.start()
    while not bench.client.connected:
        bench.client.receive(100, 0)
    published = count(bench, monkeypatch)
    bench.step(1.0)
    assert 0 < (before := len(published)) <= 4
    bench.publish(speakers[11].status("stopped"))
    bench.step()
    assert published[before].topic == topics.PRESENCE.at(org="home", machine="m11")
    bench.step(steps=3)
    assert_as_in_the_database(bench, fleet)


def test_a_revoked_machine_is_retired_and_that_of_a_removed_organisation_is_cleared(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    bench.publish(speaker.status())
    bench.step()
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    bench.step(1, steps=2)
    assert shown(bench).presence == "retired"
    access.remove_org(fleet, "home", now=clock.now)
    bench.step(1, steps=SWEEP_SECONDS + 6)
    assert ATTIC not in bench.broker.retained
    bench.step(60, steps=REPEAT_SECONDS // 60 + 1)
    assert ATTIC not in bench.broker.retained


def test_what_was_removed_while_no_ingestor_ran_is_cleared_at_its_start(
    bench: Bench, speaker: Speaker, fleet: Engine, make_bench: Callable[[], Bench], clock: Clock
) -> None:
    bench.publish(speaker.status())
    bench.step()
    bench.ingestor.stop()
    access.remove_org(fleet, "home", now=clock.now)
    again = make_bench()
    again.step(1, steps=3)
    assert ATTIC not in again.broker.retained
