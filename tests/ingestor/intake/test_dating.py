"""The time of a live sample after correction: never in the future, whatever clock and uptime a machine states."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingestion import Bench, Speaker

from ingestor.domain.batch import Batch
from ingestor.domain.machine import CLOCK_TOLERANCE_MILLISECONDS, Machine
from schemas.contract import topics
from schemas.contract.messages import INTEGER_MAX, Telemetry, Vitals

NOW = 1_700_000_000_000
DAY = 86_400_000
TIMES = st.one_of(
    st.sampled_from((0, NOW, NOW + 2 * DAY, NOW - 400 * DAY, INTEGER_MAX)),
    st.integers(0, INTEGER_MAX),
    st.integers(NOW - 10_000, NOW + 10_000),
)
UPTIMES = st.one_of(st.none(), st.sampled_from((0, 1000, INTEGER_MAX)), st.integers(0, INTEGER_MAX))
Stated = tuple[int, int | None, int]
"""Time, uptime, and by how much the server's clock is set before, in milliseconds."""

SAMPLES = st.lists(st.tuples(TIMES, UPTIMES, st.integers(-3 * DAY, 3 * DAY)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=SAMPLES)
def test_no_live_sample_is_dated_after_its_arrival(bench: Bench, speaker: Speaker, samples: list[Stated]) -> None:
    machine = bench.ingestor._cache.get("home", "attic")
    assert machine is not None
    machine.restore(Machine(machine.id, "home", "attic"))
    batch, now = Batch(), NOW
    address = topics.parse(speaker.telemetry(1).topic)
    for number, (sampled_at, uptime, step) in enumerate(samples):
        now += step
        sample = Telemetry(
            seq=number + 1,
            sampled_at=sampled_at,
            vitals=Vitals(uptime_seconds=uptime),
            session=1,
            stream=speaker.stream,
            oldest_seq=1,
        )
        bench.ingestor._handlers.handle(batch, speaker._on(topics.TELEMETRY, sample.encode()), address, now)
        stored = batch.samples[-1]
        assert stored.sample.seq == number + 1
        assert stored.sample.sampled_at + stored.clock_offset <= now + CLOCK_TOLERANCE_MILLISECONDS
    assert not batch.dead_letters
