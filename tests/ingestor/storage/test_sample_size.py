"""What a stored sample takes on the disk, with a fleet's telemetry in the order in which it arrives."""

import random
from pathlib import Path

from clocks import Clock
from ingestion import STREAM, Bench, Speaker
from sqlalchemy import Engine, text
from telemetry import telemetry

from broker.access.policy import Principal, Role
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from schemas.contract import topics
from schemas.database.engine import sqlite_file

MACHINES = 50
SAMPLES_EACH = 300
BYTES_MAX = 100
SAMPLES_OF_ONE = 30
LOG_BYTES_MAX = 12_000


def test_a_sample_takes_at_most_a_hundred_bytes(bench: Bench, fleet: Engine, clock: Clock) -> None:
    names = [f"m{number:02}" for number in range(MACHINES)]
    for name in names:
        add_principal(fleet, Principal(Role.MACHINE, "home", name), "made-up", now=clock.now)
    chance = random.Random(1)  # noqa: S311 - made-up readings
    for seq in range(1, SAMPLES_EACH + 1):
        clock.advance(10)
        for name in names:
            sampled_at = clock.now() - chance.randrange(20, 300)
            payload = telemetry(seq, sampled_at=sampled_at, stream=STREAM, chance=chance).encode()
            bench.publish(Message(topics.TELEMETRY.at(org="home", machine=name), payload))
        bench.step()
    assert bench.ingestor.counters["stored"] == MACHINES * SAMPLES_EACH
    with fleet.connect() as connection:
        size = connection.execute(text("SELECT sum(pgsize) FROM dbstat WHERE name = 'sample'")).scalar_one()
    each = size / (MACHINES * SAMPLES_EACH)
    print(f"{each:.1f} bytes a sample, {len(payload)} bytes of telemetry")
    assert each <= BYTES_MAX


def test_a_sample_of_one_machine_writes_at_most_twelve_kilobytes_with_its_roll_up_and_heartbeat(
    bench: Bench, fleet: Engine, clock: Clock
) -> None:
    log, speaker = Path(f"{sqlite_file(fleet)}-wal"), Speaker(clock)
    bench.publish(speaker.status())
    bench.step()
    before = log.stat().st_size
    for seq in range(1, SAMPLES_OF_ONE + 1):
        clock.advance(10)
        bench.publish(speaker.telemetry(seq))
        bench.step(steps=2)
    each = (log.stat().st_size - before) / SAMPLES_OF_ONE
    print(f"{each:.0f} bytes of the write-ahead log for a sample")
    assert bench.ingestor.counters["stored"] == SAMPLES_OF_ONE
    assert each <= LOG_BYTES_MAX
