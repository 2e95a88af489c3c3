"""The agent's process with shorter times until it repeats samples and results, for `dashfleet conform` in the tests."""

import sys

import agent.orders.results
import agent.outbox.backfill
import agent.outbox.delivery
from agent.__main__ import run
from runtime.process import inherited_settings
from runtime.settings.agent import AgentSettings

vars(agent.outbox.delivery).update(SPILL_SECONDS=1.0)
vars(agent.outbox.backfill).update(FIRST_SECONDS=1.0)
vars(agent.orders.results).update(REPEAT_SECONDS=1.0)
sys.exit(run(inherited_settings(AgentSettings)))
