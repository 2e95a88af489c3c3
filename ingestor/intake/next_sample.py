"""The common message in one pass: the next live sample of a machine that is online, in order.

Invariants:
- What is common is decided before anything is changed; any other sample is left to `MessageHandlers` as it came.
- The result is the same as there (`tests/ingestor/intake/test_next_sample.py` compares both on made-up histories).
"""

from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.machine import RANGES_MAX, Latest, Machine
from ingestor.domain.presence import Presence, PresenceState
from ingestor.domain.sample_time import live_offset
from schemas.contract.messages import Telemetry
from schemas.contract.org_config import Thresholds
from schemas.fleet.health import health

_ONLINE = Presence.ONLINE
"""Looked up once: that of a member of an enumeration takes as long as the rest of a comparison."""


def add_next_sample(batch: Batch, machine: Machine, sample: Telemetry, now: int, thresholds: Thresholds) -> bool:
    """Add a sample that arrived at `now`, in milliseconds; return False, and change nothing, if it is not common."""
    state, identity, session, seq = machine.state, machine.identity, sample.session, sample.seq
    stream = machine.streams.get(sample.stream)
    if (
        stream is None
        or state.presence is not _ONLINE
        or session != state.session
        or session != identity.session
        or sample.stream != identity.stream
        or seq != stream.highest_seq + 1
        or stream.stored.pieces >= RANGES_MAX
        or not stream.stored.append(seq)
    ):
        return False
    machine.state = PresenceState(
        _ONLINE, state.reason, state.since_at, True, True, session, state.interval_seconds, now
    )
    batch.machines[machine.id] = machine
    machine.behind.session = 0
    machine.clock.observe(now - sample.sampled_at)
    stream.report(seq, sample.oldest_seq, sample.dropped)
    batch.streams[machine.id, stream.name] = (machine, stream)
    vitals = sample.vitals
    if vitals.uptime_seconds is not None:
        stream.boot.observe(now - vitals.uptime_seconds * 1000)
    offset = live_offset(machine, stream, sample, now)
    batch.samples.append(Arrived(machine, stream, sample, now, offset))
    taken_at = sample.sampled_at + offset
    if batch.live_since is None or taken_at < batch.live_since:
        batch.live_since = taken_at
    batch.acks.append((machine, stream, (seq,), False))
    score = health(vitals.cpu_percent, vitals.memory_percent, vitals.disk_percent, thresholds)
    machine.latest = Latest(sample.sampled_at, vitals, sample.extra, score)
    return True
