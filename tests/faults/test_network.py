"""Bad networks: lost packets, a link that flaps, a black hole, connections cut in the middle of a packet."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.fleet import running_fleet
from faults.network import Proxy, Wire, proxy, wire
from faults.oracle import assert_clean, say
from faults.scale import SCALE, brokers
from waiting import wait_until


@pytest.mark.timeout(10_800)
@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_loss_flapping_and_a_black_hole_neither_lose_nor_double_a_sample(tmp_path: Path, broker: str) -> None:
    with wire() as link, running_fleet(tmp_path, broker=broker, server=link.server) as fleet:
        for name in ("alpha", "beta"):
            fleet.add_machine(name, place=link.machine, interval_seconds=0.1)
        fleet.start()
        fleet.flows()
        for what, break_it in faults(link).items():
            before = sum(machine.issued for machine in fleet.machines.values())
            break_it()
            measured = sum(machine.issued for machine in fleet.machines.values()) - before
            started = time.monotonic()
            fleet.settle(seconds=180)
            say(f"{what} on {broker}: {measured} samples measured, all stored {time.monotonic() - started:.1f} s later")
        assert_clean(fleet, what=f"bad network, {broker}")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("broker", brokers("embedded"))
def test_connections_cut_in_the_middle_of_a_packet_neither_lose_nor_double_a_sample(
    tmp_path: Path, broker: str
) -> None:
    chance = random.Random(3)  # noqa: S311 - a repeatable one
    with running_fleet(tmp_path, broker=broker) as fleet, proxy(fleet.port) as between:
        fleet.add_machine("attic", port=between.port, environment={"PROBE_BACKOFF_SECONDS": "0.3"})
        fleet.configure(reconnect_spread_seconds=0.1)
        fleet.start()
        fleet.flows()
        while between.cuts < SCALE.cuts:
            done = between.cuts
            between.cut_after(chance.randint(1, 4000))
            wait_for_cut(between, done + 1)
        fleet.settle()
        assert_clean(fleet, what=f"{SCALE.cuts} cuts in mid-packet, {broker}")


def wait_for_cut(between: Proxy, number: int) -> None:
    wait_until(lambda: between.cuts >= number, what=f"cut {number}")


def faults(link: Wire) -> dict[str, Callable[[], None]]:
    """Each fault, for as long as it lasts; the network is well again after it."""

    def lose() -> None:
        link.lose(20)
        time.sleep(SCALE.loss)
        link.heal()

    def flap() -> None:
        for _ in range(SCALE.flaps):
            link.pull()
            time.sleep(SCALE.flap)
            link.plug()
            time.sleep(SCALE.flap)

    def black_hole() -> None:
        link.silence()
        time.sleep(SCALE.black_hole)
        link.heal()

    return {
        f"20 % loss for {SCALE.loss:.0f} s": lose,
        f"{SCALE.flaps} flaps of {SCALE.flap:g} s": flap,
        f"a black hole of {SCALE.black_hole:.0f} s": black_hole,
    }
