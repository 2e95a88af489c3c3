"""A broker that restarts, and a whole fleet that comes back to it."""

import time
from collections import Counter
from pathlib import Path

import pytest
from faults.crowd import changes, connects, many_agents, presences
from faults.fleet import running_fleet
from faults.oracle import say
from faults.scale import SCALE, brokers
from faults.series_oracle import issued_by, judge_series
from waiting import wait_until

BACK_SECONDS = 60.0
CONNECTS_A_SECOND = 25
"""5 % of 500: the spread grows with the fleet, so that no fleet comes back faster."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("broker", brokers("embedded"))
def test_after_a_broker_restart_all_agents_are_back_soon_and_not_all_at_once(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet, many_agents(fleet, SCALE.agents) as crowd:
        fleet.start_server()
        for process in crowd:
            process.start()
        wait_until(lambda: presences(fleet) == {"online": SCALE.agents}, seconds=180, what="all agents online")
        time.sleep(6.0)  # the ingestor tells the spread for so many machines each 5 s
        restarted_at = time.time_ns() // 1_000_000
        fleet.broker.kill()
        fleet.broker.start()
        back_by = time.monotonic() + BACK_SECONDS + 5
        wait_until(lambda: len(connects(crowd, restarted_at)) == SCALE.agents, seconds=90, what="all connected again")
        assert time.monotonic() < back_by
        moments = connects(crowd, restarted_at)
        seconds = Counter((moment - restarted_at) // 1000 for moment in moments.values())
        last = (max(moments.values()) - restarted_at) / 1000
        say(f"{SCALE.agents} agents on {broker}: all back in {last:.1f} s, at most {max(seconds.values())} in a second")
        assert last <= BACK_SECONDS
        assert max(seconds.values()) <= CONNECTS_A_SECOND
        wait_until(lambda: presences(fleet) == {"online": SCALE.agents}, seconds=30, what="all agents online")
        assert changes(fleet) == {("unknown", "online"): SCALE.agents}
        for process in crowd:
            process.stop(seconds=40)
        (incident,) = fleet.incidents()
        assert incident["kind"] == "blind"
        assert incident["ended_at"] is not None
        found = Counter[str]()
        for name in (f"m{number}" for number in range(SCALE.agents)):
            found += Counter(
                judge_series(fleet.engine, issued_by(fleet.directory, name), name, on_their_way=2, by_seq=True)
            )
        say(f"devices of {SCALE.agents} agents: {dict(found)}")
        assert found["stored"] >= SCALE.agents
        assert found["missing"] == found["spurious"] == found["corrupted"] == 0
