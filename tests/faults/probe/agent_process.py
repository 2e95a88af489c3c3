"""The agent's process with the probe as its only collector, or with devices, too, and one more action.

The environment holds the times that a test shortens.
"""

import os
import select
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import agent.__main__
import agent.actions
import agent.agent
import agent.collectors
import agent.outbox.backfill
import agent.outbox.delivery
from agent.__main__ import run
from broker.client.transport import Backoff
from runtime.process import inherited_settings
from runtime.settings.agent import AgentSettings

agent.actions.__path__.append(str(Path(__file__).parent / "actions"))
agent.collectors.__path__[:] = [str(Path(__file__).parent / "collectors")]


def replace(module: ModuleType, **values: object) -> None:
    """Replace names of a module that it has: one that was moved elsewhere must not go on with its long time."""
    if missing := values.keys() - vars(module).keys():
        raise AttributeError(f"{module.__name__} has no {', '.join(missing)}")
    vars(module).update(values)


replace(agent.agent, Backoff=partial(Backoff, most_seconds=float(os.environ["PROBE_BACKOFF_SECONDS"])))
replace(agent.outbox.delivery, SPILL_SECONDS=float(os.environ["PROBE_SPILL_SECONDS"]))
replace(agent.outbox.backfill, FIRST_SECONDS=float(os.environ["PROBE_RESEND_SECONDS"]))
if "PROBE_DEVICES" in os.environ:
    sys.path.append(str(Path(__file__).parents[2]))
    from faults.probe.device_collectors.devices import JournallingOutbox, journal_of

    agent.collectors.__path__.append(str(Path(__file__).parent / "device_collectors"))
    JournallingOutbox.journal = journal_of(Path(os.environ["PROBE_DEVICES"]), os.environ["PROBE_MACHINE"])
    replace(agent.__main__, Outbox=JournallingOutbox)
if "FAKETIME_TIMESTAMP_FILE" in os.environ:  # libfaketime shifts the deadline of clock_nanosleep, not that of select
    time.sleep = lambda seconds: select.select([], [], [], float(seconds)) and None
sys.exit(run(inherited_settings(AgentSettings)))
