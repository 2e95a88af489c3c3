"""The summary of a simulation: what became of every sample, and how long it took."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from agent.simulation.machine import SimulatedMachine


class SimulationSummary(BaseModel):
    """Result of one process, or of several. `latencies` are seconds from a sample to its acknowledgement.

    `taken` is the sum of `acknowledged`, `waiting`, `rejected` and `dropped`. `cpu_seconds` is that of the simulation.
    """

    machines: int = 0
    seconds: float = 0.0
    taken: int = 0
    acknowledged: int = 0
    waiting: int = 0
    rejected: int = 0
    dropped: int = 0
    connections: int = 0
    refusals: int = 0
    lost_messages: int = 0
    cuts: int = 0
    restarts: int = 0
    reboots: int = 0
    cpu_seconds: float = 0.0
    latencies: list[float] = []

    def percentile(self, share: float) -> float | None:
        """Return the latency that this share of the samples does not exceed; None without any."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(share * len(found)))] if found else None


def summarise(machines: Sequence[SimulatedMachine], *, seconds: float) -> SimulationSummary:
    """Return the summary of machines that have stopped."""
    counts: Counter[str] = Counter()
    for machine in machines:
        counts.update(machine.counts)
    queues = [machine.queue for machine in machines]
    return SimulationSummary(
        machines=len(machines),
        seconds=seconds,
        taken=sum(queue.taken for queue in queues),
        acknowledged=sum(queue.acknowledged for queue in queues),
        waiting=sum(queue.waiting for queue in queues),
        rejected=sum(queue.rejected for queue in queues),
        dropped=sum(queue.dropped_total for queue in queues),
        connections=counts["connections"],
        refusals=counts["refusals"],
        lost_messages=counts["lost_messages"],
        cuts=counts["cut"],
        restarts=counts["restart"],
        reboots=counts["reboot"],
        cpu_seconds=time.process_time(),
        latencies=[seconds for queue in queues for seconds in list(queue.latencies)[-20:]],
    )


def merged(summaries: Iterable[SimulationSummary]) -> SimulationSummary:
    """Return the sum of several summaries; their time is the longest."""
    total: Counter[str] = Counter()
    latencies: list[float] = []
    seconds = 0.0
    for each in summaries:
        total.update(each.model_dump(exclude={"latencies", "seconds"}))
        latencies += each.latencies
        seconds = max(seconds, each.seconds)
    return SimulationSummary(**total, latencies=latencies, seconds=seconds)
