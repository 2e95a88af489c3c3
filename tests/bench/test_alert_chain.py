"""From samples to the service: an ingestor and a notifier on one broker, with 1,000 machines.

`make bench` has all 1,000 send a loud sample; inside `make test` a part of them does.
"""

import os
import time
from pathlib import Path
from statistics import quantiles

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from notifying import AlertSource, NotifyingWorld
from service_stubs import Received, http_stub
from sqlalchemy import Engine, insert

from broker.client.memory import MemoryBroker
from ingestor.admin.access import add_org
from notifier.notifier import Notifier
from runtime.clock import SystemClock
from schemas.contract.messages import Vitals
from schemas.database import tables

MACHINES = 1000
LASTING_SECONDS = 1.0
WHOLE = "DASHFLEET_BENCH_SECONDS" in os.environ
LOUD, SENDING_SECONDS = (MACHINES, 5.0) if WHOLE else (300, 1.5)
MEDIAN_SECONDS, SLOW_SECONDS = 1.0, 3.0
"""Wanted of a machine with nothing else to do, at the median and at the 99th percentile."""

BUSY = 1 if WHOLE else 4

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def fleet(database: Engine) -> Engine:
    add_org(database, "home", now=SystemClock().now)
    rows = [{"id": number + 1, "org_id": 1, "name": f"m{number}", "created_at": 1} for number in range(MACHINES)]
    with database.begin() as connection:
        connection.execute(insert(tables.machine), rows)
    return database


def chain(
    fleet: Engine, data: Path, clock: SystemClock | Clock, url: str
) -> tuple[Bench, Notifier, NotifyingWorld, list[Speaker]]:
    """An ingestor whose machines are online, and a notifier with a webhook."""
    broker = MemoryBroker()
    bench = open_bench(fleet, clock, broker)  # type: ignore[arg-type]
    world = NotifyingWorld(data, broker, AlertSource(broker), clock)
    world.add("hook", url, group_seconds=0.5)
    notifier = world.notifier()
    speakers = [Speaker(clock, name=f"m{number}") for number in range(MACHINES)]  # type: ignore[arg-type]
    bench.ingestor.step()
    notifier.step(0.01)
    bench.publish(*(speaker.status() for speaker in speakers))
    for _ in range(MACHINES // 100):
        bench.ingestor.step()
    return bench, notifier, world, speakers


def test_alerts_of_a_thousand_machines_reach_the_service_soon_after_their_duration(
    fleet: Engine, tmp_path: Path
) -> None:
    set_rules(fleet, cpu_rule(for_seconds=LASTING_SECONDS, threshold=90.0))
    delays: dict[str, float] = {}

    def note(request: Received) -> tuple[int, dict[str, str], bytes]:
        for alert in request.json["alerts"]:
            delays.setdefault(alert["machine"], time.time() - alert["since"] / 1000 - LASTING_SECONDS)
        return 200, {}, b""

    with http_stub() as stub:
        stub.answer = note
        bench, notifier, world, speakers = chain(fleet, tmp_path, SystemClock(), f"http://127.0.0.1:{stub.port}/hook")
        loud = Vitals(cpu_percent=99.0, memory_percent=1.0, disk_percent=1.0)
        began, sent = time.monotonic(), 0
        while len(delays) < LOUD and time.monotonic() - began < 60:
            wanted = min(LOUD, round(LOUD * (time.monotonic() - began) / SENDING_SECONDS))
            bench.publish(*(speakers[number].telemetry(1, vitals=loud) for number in range(sent, wanted)))
            sent = wanted
            bench.ingestor.step()
            notifier.step(0.02)
        notifier.stop()
        world.people.dispose()
    assert len(delays) == LOUD
    cuts = quantiles(delays.values(), n=100)
    print(f"\n{LOUD} alerts of {MACHINES:,} machines: median {cuts[49]:.2f} s, 99th percentile {cuts[98]:.2f} s")
    assert cuts[49] <= MEDIAN_SECONDS * BUSY
    assert cuts[98] <= SLOW_SECONDS * BUSY


def test_a_thousand_machines_that_fall_silent_at_once_are_one_message(
    fleet: Engine, tmp_path: Path, clock: Clock
) -> None:
    with http_stub() as stub:
        bench, notifier, world, speakers = chain(fleet, tmp_path, clock, f"http://127.0.0.1:{stub.port}/hook")
        bench.publish(*(speaker.telemetry(1) for speaker in speakers))
        for _ in range(MACHINES // 100):
            bench.ingestor.step()
        for _ in range(60):
            bench.step(5.0)
            notifier.step(0.0)
        notifier.stop()
        world.people.dispose()
        told = [alert for request in stub.received for alert in request.json["alerts"]]
    assert [(alert["kind"], alert["rule"], alert["machine_count"]) for alert in told] == [
        ("problem", "mass-silence", MACHINES)
    ]
    assert len(stub.received) == 1
