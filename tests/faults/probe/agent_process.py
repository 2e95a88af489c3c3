"""The agent's process with the probe as its only collector, and one more action.

The environment holds the times that a test shortens.
"""

import os
import select
import sys
import time
from functools import partial
from pathlib import Path

import agent.actions
import agent.agent
import agent.collectors
from agent.__main__ import run
from broker.client.transport import Backoff
from runtime.process import inherited_settings
from runtime.settings.agent import AgentSettings

agent.actions.__path__.append(str(Path(__file__).parent / "actions"))
agent.collectors.__path__[:] = [str(Path(__file__).parent / "collectors")]
vars(agent.agent).update(
    SPILL_SECONDS=float(os.environ["PROBE_SPILL_SECONDS"]),
    Backoff=partial(Backoff, most_seconds=float(os.environ["PROBE_BACKOFF_SECONDS"])),
)
if "FAKETIME_TIMESTAMP_FILE" in os.environ:  # libfaketime shifts the deadline of clock_nanosleep, not that of select
    time.sleep = lambda seconds: select.select([], [], [], float(seconds)) and None
sys.exit(run(inherited_settings(AgentSettings)))
