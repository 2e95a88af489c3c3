"""Many agents in one process, each in a thread: `agents_process.py SETTINGS...`, one JSON of AgentSettings each.

Every connection is written to standard output as `connected MILLISECONDS MACHINE`. Each agent reports devices.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from agent.agent import Agent
from agent.collection.detail_runner import DetailRunner
from agent.collection.facts_publisher import FactsPublisher
from agent.collection.sample_runner import CollectorRunner
from agent.inventory import boot_id
from agent.session_counter import SessionCounter
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Connected, Event, WillMaker
from runtime.clock import SystemClock
from runtime.process import StopSignal, notify_ready
from runtime.settings.agent import AgentSettings

sys.path.append(str(Path(__file__).parents[2]))
from faults.probe.device_collectors.devices import JOURNALS, JournallingOutbox, ProbeDevices, journal_of

CLOCK = SystemClock()


class ReportingMqtt(Mqtt):
    """Reports each connection on standard output."""

    machine = ""

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        events = super().receive(limit, wait)
        if any(isinstance(event, Connected) for event in events):
            os.write(1, f"connected {CLOCK.now()} {self.machine}\n".encode())
        return events


def run(settings: AgentSettings, stop: StopSignal) -> None:
    """Run one agent until the process is told to stop."""
    directory = settings.data
    directory.mkdir(parents=True, exist_ok=True)
    password = os.environ["DASHFLEET_AGENT_PASSWORD"]

    def open_transport(*, subscriptions: list[tuple[str, int]], will: WillMaker, backoff: Backoff) -> ReportingMqtt:
        made = ReportingMqtt(
            settings.address,
            username=f"{settings.org}.{settings.machine}",
            password=password,
            subscriptions=subscriptions,
            will=will,
            keep_alive_seconds=settings.keep_alive_seconds,
            backoff=backoff,
        )
        made.machine = settings.machine
        return made

    files = (directory / "outbox.db", directory / "hot.db")
    outbox = JournallingOutbox(*files, max_bytes=1 << 20, boot=boot_id(), clock=CLOCK)
    outbox.journal = journal_of(Path(os.environ[JOURNALS]), settings.machine)
    agent = Agent(
        settings,
        open_transport=open_transport,
        outbox=outbox,
        runner=CollectorRunner([], timeout_seconds=5.0),
        sessions=SessionCounter(directory / "session", CLOCK),
        clock=CLOCK,
        details=DetailRunner(
            [ProbeDevices(settings)], settings, CLOCK, FactsPublisher(directory / "facts.json", CLOCK)
        ),
    )
    while not stop.received:
        agent.step()
    agent.stop()


def main(arguments: list[str]) -> None:
    """Run all agents."""
    stop = StopSignal()
    threading.stack_size(512 << 10)
    threads = [
        threading.Thread(target=run, args=(AgentSettings.model_validate_json(text), stop), daemon=True)
        for text in arguments
    ]
    for thread in threads:
        thread.start()
    notify_ready(f"{len(threads)} agents")
    while not stop.received:
        time.sleep(0.2)
    for thread in threads:
        thread.join(30)


if __name__ == "__main__":
    main(sys.argv[1:])
