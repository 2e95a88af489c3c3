"""A machine whose session number begins again is present while its samples arrive, and is told about the number."""

from dataclasses import replace

import pytest
from ingestion import Bench, Speaker
from sqlalchemy import Engine

from broker.client.transport import Message
from schemas.contract.ack import Ack
from schemas.database.queries.machines import list_machines


def attic(fleet: Engine) -> dict[str, object]:
    return next(row for row in list_machines(fleet) if row["org"] == "home")


def told(bench: Bench) -> list[str]:
    events = bench.client.receive(100, 0)
    acks = [Ack.decode(each.payload) for each in events if isinstance(each, Message) and each.topic.endswith("/ack")]
    return [rejection.reason for ack in acks for rejection in ack.rejected]


@pytest.mark.parametrize("session", [1, 5], ids=["lower", "the same again"])
def test_a_machine_that_begins_again_with_its_session_is_shown_as_present_and_told(
    bench: Bench, speaker: Speaker, fleet: Engine, session: int
) -> None:
    speaker.session = 5
    bench.publish(speaker.status(), speaker.telemetry(1), speaker.status("stopped"))
    bench.step()
    assert attic(fleet)["presence"] == "offline"
    again = replace(speaker, session=session, stream="00000000000000bb")
    bench.publish(again.status())
    for seq in (1, 2, 3):
        bench.publish(again.telemetry(seq))
        bench.step(10.0)
    found = attic(fleet)
    assert (found["presence"], found["verified"], found["reason"]) == ("online", True, "session-behind")
    bench.step(3.0)
    assert told(bench) == ["session-behind"]
    for seq in range(4, 40):
        bench.publish(again.telemetry(seq))
        bench.step(10.0)
    assert attic(fleet)["presence"] == "online"


def test_a_higher_session_ends_it(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    speaker.session = 5
    bench.publish(speaker.status(), speaker.telemetry(1))
    again = replace(speaker, session=1)
    for seq in (2, 3, 4):
        bench.publish(again.telemetry(seq))
        bench.step(10.0)
    assert attic(fleet)["reason"] == "session-behind"
    bench.publish(replace(speaker, session=6).telemetry(5))
    bench.step()
    assert (attic(fleet)["presence"], attic(fleet)["reason"]) == ("online", "connected")


def test_late_samples_of_the_connection_before_change_nothing(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    late = replace(speaker, session=1)
    speaker.session = 2
    bench.publish(speaker.status(), late.telemetry(1), late.telemetry(2), speaker.telemetry(3))
    bench.step(10.0)
    bench.publish(late.telemetry(4), speaker.telemetry(5))
    bench.step(10.0)
    assert attic(fleet)["reason"] == "connected"


def test_samples_in_flight_after_a_goodbye_do_not_revive(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1), speaker.status("stopped"), speaker.telemetry(2))
    bench.step(0.5)
    bench.publish(speaker.telemetry(3))
    bench.step(0.4)
    assert (attic(fleet)["presence"], attic(fleet)["reason"]) == ("offline", "stopped")
