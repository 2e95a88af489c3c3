"""Who is shown as there, when networks, brokers and the ingestor itself fail."""

import time
from pathlib import Path
from typing import Any

import pytest
from brokers import RawClient
from faults.fleet import ORG, READER, SECRET, Fleet, Place, running_fleet
from faults.network import proxy, wire
from faults.oracle import assert_clean, say
from faults.scale import SCALE, brokers
from waiting import wait_until

from schemas.contract import topics
from schemas.contract.messages import Status

TICK = 0.7  # a silence that would run out before the ingestor looks at the clock again runs out now
BUSY = 0.5  # the most that a machine that is busy with other tests may put a look off
UNCHANGED = [("unknown", "online", "connected")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_a_silenced_machine_is_stale_and_then_offline_without_help_from_a_will(tmp_path: Path, broker: str) -> None:
    with wire() as link, running_fleet(tmp_path, broker=broker, server=link.server) as fleet:
        fleet.configure(stale_seconds=SCALE.stale, offline_seconds=SCALE.offline)
        # The broker takes half an hour to miss a client with this keep-alive, so no will is sent.
        quiet: dict[str, Any] = {"interval_seconds": SCALE.interval, "keep_alive_seconds": 1200}
        fleet.add_machine("silenced", place=link.machine, **quiet)
        fleet.add_machine("spared", place=Place(link.server.prefix), **quiet)
        fleet.start()
        fleet.wait_until_present()
        fleet.flows(more=4)
        link.silence()
        silenced_at = time.time_ns() // 1_000_000
        fleet.wait_until_presence("silenced", "offline", seconds=SCALE.offline + 10)
        last_seen = fleet.look()["silenced"]["last_seen"]
        stale, offline = fleet.transitions("silenced")[1:]
        say(
            f"silenced on {broker}: stale {(stale.at - silenced_at) / 1000:.1f} s and offline "
            f"{(offline.at - silenced_at) / 1000:.1f} s after it"
        )
        assert stale[:3] == ("online", "stale", "silent")
        assert offline[:3] == ("stale", "offline", "silent")
        assert SCALE.stale - TICK <= (stale.at - last_seen) / 1000 <= SCALE.stale + BUSY
        assert SCALE.offline - TICK <= (offline.at - last_seen) / 1000 <= SCALE.offline + BUSY
        link.heal()
        fleet.wait_until_present(seconds=150)
        assert [change[:3] for change in fleet.transitions("spared")] == UNCHANGED
        fleet.settle()
        assert_clean(fleet, what=f"silenced on {broker}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", brokers("embedded"))
def test_take_overs_and_late_wills_never_show_a_machine_offline(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet, proxy(fleet.port) as between:
        machine = fleet.add_machine("attic", port=between.port, environment={"PROBE_BACKOFF_SECONDS": "0.3"})
        fleet.configure(reconnect_spread_seconds=0.1)
        fleet.start()
        fleet.wait_until_present()
        for _ in range(SCALE.take_overs):
            session = fleet.session("attic")
            wait_until(lambda: between.cut(half_open=True), what="a connection to cut")
            fleet.wait_for_session("attic", above=session)
            fleet.flows(more=2)
        for number in range(SCALE.late_wills):
            _send_a_late_will(fleet, session=fleet.session("attic") - number % 2)
            fleet.flows(more=2)
        wait_until(lambda: _retained_status(fleet) == "online", what="the retained status online")
        say(f"{SCALE.take_overs} take-overs, {SCALE.late_wills} late wills on {broker}: {fleet.transitions('attic')}")
        assert [change[:3] for change in fleet.transitions("attic")] == UNCHANGED
        assert machine.process.running
        fleet.settle()
        assert_clean(fleet, what=f"take-overs and late wills on {broker}")


@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_after_a_restart_of_the_ingestor_presence_is_unverified_and_then_true_again(
    tmp_path: Path, broker: str
) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet:
        fleet.configure(stale_seconds=3.0, offline_seconds=6.0)
        fleet.add_machine("slow", interval_seconds=1.5)
        fleet.add_machine("quick", interval_seconds=0.2)
        fleet.start()
        fleet.wait_until_present()
        for end in (fleet.ingestor.kill, fleet.ingestor.stop):
            end()
            fleet.ingestor.start(wait=False)
            fleet.wait_until_presence("slow", "online", verified=False)
            fleet.wait_until_present()
        for name in fleet.machines:
            assert [change[:3] for change in fleet.transitions(name)] == UNCHANGED
        assert_clean(fleet, what=f"ingestor restarted on {broker}")


@pytest.mark.parametrize("broker", brokers("embedded"))
def test_while_the_broker_is_away_nobody_is_shown_offline_and_one_incident_is(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet:
        fleet.configure(stale_seconds=1.0, offline_seconds=2.0)
        for name in ("alpha", "beta", "gamma"):
            fleet.add_machine(name, interval_seconds=0.2, environment={"PROBE_BACKOFF_SECONDS": "0.3"})
        fleet.start()
        fleet.wait_until_present()
        fleet.broker.kill()
        time.sleep(4.0)  # longer than all thresholds
        assert {fleet.presence(name) for name in fleet.machines} == {("online", False)}
        fleet.broker.start()
        fleet.wait_until_present()
        for name in fleet.machines:
            assert [change[:3] for change in fleet.transitions(name)] == UNCHANGED
        (incident,) = fleet.incidents()
        assert incident["kind"] == "blind"
        assert incident["ended_at"] - incident["started_at"] >= 3500
        assert_clean(fleet, what=f"{broker} away")


def test_many_machines_that_go_quiet_together_are_one_incident(tmp_path: Path) -> None:
    with wire() as link, running_fleet(tmp_path, server=link.server) as fleet:
        fleet.configure(stale_seconds=1.5, offline_seconds=3.0)
        for number in range(4):
            fleet.add_machine(f"m{number}", place=link.machine, interval_seconds=0.25)
        fleet.add_machine("spared", place=Place(link.server.prefix), interval_seconds=0.25)
        fleet.start()
        fleet.wait_until_present()
        link.silence()
        silenced = [name for name in fleet.machines if name != "spared"]
        for name in silenced:
            fleet.wait_until_presence(name, "offline")
        (incident,) = fleet.incidents()
        assert incident["kind"] == "mass-silence"
        assert incident["ended_at"] is None
        assert incident["details"]["names"] == silenced
        link.heal()
        fleet.wait_until_present()
        wait_until(lambda: fleet.incidents()[0]["ended_at"] is not None, what="the end of the incident")
        assert len(fleet.incidents()) == 1


def _send_a_late_will(fleet: Fleet, *, session: int) -> None:
    """Let the broker send a will as for a connection of this session, long after the machine has connected again.

    The embedded broker lets nobody but the machine itself have such a will; there, this is one more take-over.
    """
    machine = {"org": ORG, "machine": "attic"}
    username = f"{ORG}.attic"
    payload = Status(state="offline", reason="lost", session=session, at=0, interval_seconds=0.05).encode()
    with RawClient(fleet.port) as ghost:
        mosquitto = fleet.broker.name == "mosquitto"
        will = (topics.STATUS.at(**machine), payload, 1, True)
        assert ghost.connect(username, SECRET, client_id="ghost" if mosquitto else username, will=will) == 0
        ghost.reset()


def _retained_status(fleet: Fleet) -> str | None:
    with RawClient(fleet.port) as reader:
        assert reader.connect(READER.username, SECRET) == 0
        reader.subscribe(topics.STATUS.filter(org=ORG))
        reader.ping()
        if reader.nothing_waits():
            return None
        message = reader.message()
        return Status.decode(message.payload).state if message.retain else None
