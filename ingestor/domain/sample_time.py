"""The time of a sample by the server's clock: the correction of the time that its machine gave. Pure functions."""

from ingestor.domain.machine import CLOCK_TOLERANCE_MILLISECONDS, Machine, Stream, within_tolerance
from schemas.contract.messages import Sample


def live_offset(machine: Machine, stream: Stream, sample: Sample, now: int) -> int:
    """Return the correction of a live sample's time: the estimated offset, unless the clock was just set.

    It takes some messages until another offset is accepted; until then uptime dates them, as with late samples.
    """
    estimate = machine.clock.milliseconds
    if estimate is not None and abs(now - sample.sampled_at - estimate) > CLOCK_TOLERANCE_MILLISECONDS:
        return late_offset(machine, stream, sample)
    return within_tolerance(estimate)


def late_offset(machine: Machine, stream: Stream, sample: Sample) -> int:
    """Return the correction of a late sample's time.

    The machine's clock may have been set since. Its stream belongs to one boot, so uptime, which setting a clock does
    not change, dates the sample to the second; without it, the current estimate is the best guess.
    """
    if stream.boot.milliseconds is None or sample.vitals.uptime_seconds is None:
        return within_tolerance(machine.clock.milliseconds)
    return within_tolerance(stream.boot.milliseconds + sample.vitals.uptime_seconds * 1000 - sample.sampled_at)
