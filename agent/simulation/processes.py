"""The processes of a simulation: each has a part of the machines, and their summaries are added."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Lock, Thread

from agent.simulation.machine import SimulationPlan
from agent.simulation.summary import SimulationSummary, merged
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Disconnected
from runtime.errors import UserError
from runtime.process import SUPERVISED
from runtime.settings.address import ServerAddress

_CHILD = [sys.executable, "-P", "-m", "agent.simulation"]

Show = Callable[[Counter[str]], None]
"""Callback for the counts of all processes together."""


STOP_SECONDS = 0.5
"""Longest time until a simulation that is to stop tells its processes."""

ADMISSION_SECONDS = 30.0
"""Longest time until the broker knows new credentials."""


def wait_for_admission(plan: SimulationPlan) -> None:
    """Wait until the broker admits the first machine. Raises UserError if it does not within ADMISSION_SECONDS."""
    transport = Mqtt(
        ServerAddress.parse(plan.server),
        username=f"{plan.org}.{plan.names[0]}",
        password=plan.secret,
        ca_file=plan.ca_file,
        backoff=Backoff(first_seconds=0.1, most_seconds=0.5),
    )
    deadline, reason = time.monotonic() + ADMISSION_SECONDS, ""
    try:
        while not transport.connected:
            for event in transport.receive(10, 0.1):
                reason = event.reason if isinstance(event, Disconnected) else reason
            if time.monotonic() > deadline:
                raise UserError(f"{plan.server} does not admit the simulated machines: {reason}")
    finally:
        transport.close()


def divided(plan: SimulationPlan, processes: int) -> list[SimulationPlan]:
    """Return the plans of the processes: each has about as many machines."""
    ends = [plan.machines * number // processes for number in range(processes + 1)]
    return [
        plan.model_copy(update={"first": plan.first + start, "machines": end - start})
        for start, end in pairwise(ends)
        if end > start
    ]


def run_processes(
    plans: Sequence[SimulationPlan], show: Show, stopping: Callable[[], bool] = lambda: False
) -> SimulationSummary:
    """Run one process for each plan until they end, or are ended because of `stopping`; add up their summaries.

    Raises UserError if one ends early.
    """
    progress: dict[int, Counter[str]] = {}
    results: dict[int, str] = {}
    lock = Lock()

    def follow(number: int, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            found = json.loads(line)
            with lock:
                if "progress" in found:
                    progress[number] = Counter(found["progress"])
                    show(sum(progress.values(), Counter()))
                else:
                    results[number] = line

    children = [_start() for _ in plans]
    try:
        readers = []
        for number, (plan, child) in enumerate(zip(plans, children, strict=True)):
            _send(child, plan)
            readers.append(Thread(target=follow, args=(number, child), daemon=True))
            readers[-1].start()
        _wait(children, stopping)
        for reader in readers:
            reader.join()
    finally:
        for child in children:
            child.kill()
            child.wait()
    if len(results) < len(plans):
        raise UserError("a process of the simulation ended before its time: its message is above")
    return merged(SimulationSummary.model_validate_json(line) for line in results.values())


def _start() -> "subprocess.Popen[str]":
    environment = {**os.environ, SUPERVISED: "1"}  # it ends with this process
    return subprocess.Popen(_CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _send(child: "subprocess.Popen[str]", plan: SimulationPlan) -> None:
    if child.stdin is not None:
        child.stdin.write(plan.model_dump_json() + "\n")
        child.stdin.flush()


def _wait(children: "Sequence[subprocess.Popen[str]]", stopping: Callable[[], bool]) -> None:
    """Wait for the processes. Ctrl-C reaches them as well, and each says goodbye for its machines."""
    for child in children:
        while True:
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                if stopping():
                    for each in children:
                        each.terminate()
                continue
            break
