"""SIGKILL, at any moment, of any part, under load."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.fleet import Fleet, running_fleet
from faults.oracle import assert_clean, say
from faults.presence_reader import PresenceReader
from faults.probe.device_collectors.devices import JOURNALS
from faults.scale import SCALE
from faults.series_oracle import issued_by, judge_series

NAMES = ("alpha", "beta", "gamma")
TAKE_UP_SECONDS = 5.0
STACKS = [("embedded", "sqlite"), ("mosquitto", "postgresql")]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("broker", "database"), STACKS)
def test_no_sample_is_lost_when_any_part_is_killed_again_and_again(tmp_path: Path, broker: str, database: str) -> None:
    with running_fleet(tmp_path, broker=broker, database=database) as fleet, PresenceReader(fleet) as reader:
        for name in NAMES:
            fleet.add_machine(name, environment={JOURNALS: str(tmp_path)}, detail_interval_seconds=0.2)
        fleet.configure(reconnect_spread_seconds=0.2)
        fleet.start()
        fleet.flows()
        chance, killed = random.Random(1), Counter[str]()  # noqa: S311 - a repeatable one
        for part, kill in kills(fleet, chance, killed).items():
            started, slowest = time.monotonic(), 0.0
            for _ in range(SCALE.kills):
                kill()
                back_at = time.monotonic()
                fleet.flows(more=9)
                slowest = max(slowest, time.monotonic() - back_at)
                reader.wait_until_as_stored()
                time.sleep(chance.uniform(0, 0.3))  # so that the next kill hits any moment of the parts' work
            say(
                f"{SCALE.kills} kills of {part} in {time.monotonic() - started:.0f} s; "
                f"samples are stored again {slowest:.1f} s after its return at the latest"
            )
            assert part != "database" or slowest <= TAKE_UP_SECONDS
        fleet.settle()
        assert_clean(fleet, what=f"kills, {broker} and {database}")
        for name in NAMES:
            series = judge_series(fleet.engine, issued_by(tmp_path, name), name, by_seq=True)
            say(f"devices of {name}: {series}, {killed[name]} kills of its agent")
            assert series["stored"] > 0
            assert series["spurious"] == series["corrupted"] == 0
            assert series["missing"] <= killed[name]  # killed before the sample was taken


def kills(fleet: Fleet, chance: random.Random, killed: Counter[str]) -> dict[str, Callable[[], None]]:
    """For each part, what kills it and starts it again; the kills of agents are counted by machine."""

    def kill_an_agent() -> None:
        name = chance.choice(sorted(fleet.machines))
        killed[name] += 1
        process = fleet.machines[name].process
        process.kill()
        process.start()

    def kill_the_broker() -> None:
        fleet.broker.kill()
        fleet.broker.start()

    def kill_the_ingestor() -> None:
        fleet.ingestor.kill()
        fleet.ingestor.start()

    def kill_the_database() -> None:
        assert fleet.database is not None
        fleet.database.kill()
        fleet.database.start()

    found = {"agents": kill_an_agent, "broker": kill_the_broker, "ingestor": kill_the_ingestor}
    return found if fleet.database is None else {**found, "database": kill_the_database}
