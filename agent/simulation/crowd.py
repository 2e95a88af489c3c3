"""Many simulated machines in one thread: a selector for their sockets and a heap for their times."""

import selectors
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush

from agent.simulation.machine import SimulatedMachine, SimulationPlan
from agent.simulation.summary import SimulationSummary, summarise
from runtime.clock import Clock

DRAIN_SECONDS = 60.0
"""Longest time after the end for which the machines wait for acknowledgements."""

_WAIT_SECONDS = 0.2
_STOPPING_THREADS = 32


class Crowd:
    """The machines of a plan, connected one after the other at the plan's rate."""

    def __init__(self, plan: SimulationPlan, clock: Clock) -> None:
        self.machines: list[SimulatedMachine] = []
        self._plan = plan
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, int] = {}
        """Descriptors of the watched sockets, by number of the machine."""
        self._due: list[tuple[float, int]] = []
        self._began_at = clock.monotonic()

    def run(self, stopping: Callable[[], bool], report: Callable[[Counter[str]], None]) -> SimulationSummary:
        """Simulate until the plan's duration is over or `stopping`; `report` is called once a second."""
        end_at = self._began_at + self._plan.duration_seconds
        self._run_until(lambda: stopping() or self._clock.monotonic() >= end_at, report, self._plan.names)
        for number, machine in enumerate(self.machines):
            machine.hold_samples()
            machine.due_at = self._clock.monotonic()
            heappush(self._due, (machine.due_at, number))
        seconds = self._clock.monotonic() - self._began_at
        drained_at = self._clock.monotonic() + DRAIN_SECONDS
        self._run_until(lambda: self._clock.monotonic() >= drained_at or not self._waiting(), report, ())
        with ThreadPoolExecutor(_STOPPING_THREADS) as pool:
            list(pool.map(SimulatedMachine.stop, self.machines))
        return summarise(self.machines, seconds=seconds)

    def counts(self) -> Counter[str]:
        """Return how many machines are connected, and what became of their samples."""
        found = Counter(connected=sum(machine.connected for machine in self.machines))
        for machine in self.machines:
            found.update(taken=machine.queue.taken, acknowledged=machine.queue.acknowledged)
        return found

    def _run_until(
        self, is_over: Callable[[], bool], report: Callable[[Counter[str]], None], names: Iterable[str]
    ) -> None:
        joining, report_at = iter(names), self._clock.monotonic() + 1
        while not is_over():
            now = self._clock.monotonic()
            due = int((now - self._began_at) * self._plan.connects_per_second) + 1
            while len(self.machines) < due and (name := next(joining, None)) is not None:
                machine = SimulatedMachine(self._plan, name, self._clock)
                machine.due_at = now
                heappush(self._due, (now, len(self.machines)))
                self.machines.append(machine)
            while self._due and self._due[0][0] <= now:
                at, number = heappop(self._due)
                if self.machines[number].due_at == at:
                    self._step(number)
            wait = min(_WAIT_SECONDS, max(0.0, self._due[0][0] - now)) if self._due else _WAIT_SECONDS
            for key, _ in self._selector.select(min(wait, 1 / self._plan.connects_per_second)):
                self._step(key.data)
            if now >= report_at:
                report_at = now + 1
                report(self.counts())

    def _step(self, number: int) -> None:
        machine = self.machines[number]
        machine.step()
        heappush(self._due, (machine.due_at, number))
        sock, known = machine.socket, self._watched.get(number)
        descriptor = None if sock is None else sock.fileno()
        if descriptor != known:
            if known is not None:
                self._selector.unregister(known)
                del self._watched[number]
            if descriptor is not None:
                self._selector.register(descriptor, selectors.EVENT_READ, number)
                self._watched[number] = descriptor

    def _waiting(self) -> int:
        return sum(machine.queue.waiting for machine in self.machines)
