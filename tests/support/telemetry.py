"""Telemetry of realistic size and shape, for benchmarks."""

import random

from schemas.contract.messages import Telemetry, Vitals


def telemetry(seq: int, *, sampled_at: int, stream: str, chance: random.Random) -> Telemetry:
    """Return a sample with every vital, in the units and with the number of digits of the collectors."""
    vitals = Vitals(
        cpu_percent=round(chance.uniform(0, 100), 1),
        memory_percent=round(chance.uniform(20, 90), 1),
        memory_used_bytes=chance.randrange(2**32, 2**34, 1024),
        disk_percent=round(chance.uniform(20, 90), 1),
        disk_used_bytes=chance.randrange(2**36, 2**39, 4096),
        swap_percent=round(chance.uniform(0.1, 10), 1),
        uptime_seconds=400_000 + 10 * seq,
        load_1m=round(chance.uniform(0, 4), 2),
        network_received_bytes=2**36 + 24_000_000 * seq,
        network_sent_bytes=2**34 + 400_000 * seq,
        process_count=chance.randrange(150, 400),
        temperature_celsius=round(chance.uniform(40, 70), 1),
    )
    return Telemetry(
        seq=seq, sampled_at=sampled_at, vitals=vitals, session=sampled_at, stream=stream, oldest_seq=seq, dropped=0
    )
