"""A flood of backfills by one machine: live samples of others are not delayed, and no batch grows with it."""

from dataclasses import replace

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, func, select

from ingestor.domain.batch import Batch
from ingestor.intake.ingress import BACKFILLS_EACH_STEP, BACKFILLS_WAITING
from ingestor.intake.rate_limits import Rate, RateLimits
from schemas.database import tables
from schemas.database.queries.machines import list_machines


def stored(fleet: Engine) -> int:
    with fleet.connect() as connection:
        return connection.scalar(select(func.count()).select_from(tables.sample)) or 0


def flood(messages: int, *, samples: int = 50) -> list[list[int]]:
    return [list(range(1 + number * samples, 1 + (number + 1) * samples)) for number in range(messages)]


def test_a_live_sample_sent_after_a_flood_is_stored_with_the_next_batch(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    other = replace(speaker, org="office")
    bench.publish(*(speaker.backfill(*numbers) for numbers in flood(60)), other.telemetry(1))
    bench.step()
    office = next(row for row in list_machines(fleet) if row["org"] == "office")
    assert office["ledger"]["stored"] == 1
    assert stored(fleet) <= 1 + BACKFILLS_WAITING * 50


def test_the_rest_of_a_flood_is_dropped_without_an_acknowledgement_and_counted(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(*(speaker.backfill(*numbers) for numbers in flood(60)))
    bench.step(1.0, steps=5)
    assert stored(fleet) == BACKFILLS_WAITING * 50
    assert bench.ingestor.counters["limited"] == 60 - BACKFILLS_WAITING


def test_machines_take_turns(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    other = replace(speaker, org="office")
    bench.publish(*(speaker.backfill(*numbers) for numbers in flood(BACKFILLS_WAITING)))
    bench.publish(*(other.backfill(*numbers) for numbers in flood(BACKFILLS_WAITING)))
    bench.step()
    found = {row["org"]: row["ledger"]["stored"] for row in list_machines(fleet)}
    assert found == {"home": BACKFILLS_EACH_STEP // 2 * 50, "office": BACKFILLS_EACH_STEP // 2 * 50}
    bench.step()
    assert stored(fleet) == 2 * BACKFILLS_WAITING * 50


def test_a_machine_that_has_used_up_its_samples_waits(clock: Clock) -> None:
    limits = RateLimits(clock, machine=Rate(1000, 1 << 20, samples=600), org=Rate(1000, 1 << 20, samples=6000))
    assert limits.admit("home", "attic", 1, counts_samples=True)
    limits.charge("home", "attic", 700)
    assert not limits.admit("home", "attic", 1, counts_samples=True)
    assert limits.admit("home", "attic", 1), "live samples go on"
    clock.advance(11)
    assert limits.admit("home", "attic", 1, counts_samples=True)


def test_what_waits_when_the_ingestor_stops_is_stored(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    other = replace(speaker, org="office")
    for each in (speaker, other):
        bench.publish(*(each.backfill(*numbers) for numbers in flood(BACKFILLS_WAITING)))
    bench.ingestor.stop()
    assert stored(fleet) == 2 * BACKFILLS_WAITING * 50


def test_after_a_slow_batch_fewer_backfills_are_taken_and_after_quick_ones_more_again(
    bench: Bench, speaker: Speaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, taken = bench.ingestor._store.write, []

    def slow(batch: Batch, *given: object) -> None:
        taken.append(len(batch.samples))
        clock.advance(0.6 if len(taken) < 3 else 0.0)
        write(batch, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.ingestor._store, "write", slow)
    speakers = [speaker, replace(speaker, org="office")]
    number = 0
    for _ in range(6):
        for each in speakers:
            bench.publish(*(each.backfill(number + i) for i in range(1, BACKFILLS_WAITING + 1)))
        number += BACKFILLS_WAITING
        bench.step()
    assert [samples for samples in taken if samples] == [10, 5, 2, 3, 4, 5]
