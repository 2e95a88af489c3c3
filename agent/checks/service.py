"""The process of the agent."""

from agent.check import Examination, Finding, check
from agent.connection_record import read_connection


@check(order=60)
def service(examination: Examination) -> Finding:
    """Tell whether the agent runs and is connected, by its record."""
    state = read_connection(examination.settings.data)
    if state is None or not state.is_running:
        advice = "Start it: systemctl start dashfleet-agent, or dashfleet agent. Its log says why it ended."
        return Finding("service", "problem", "the agent does not run", advice)
    if not state.connected:
        return Finding(
            "service", "problem", "the agent runs, but is not connected", "See the other checks, and its log."
        )
    if not state.acknowledged:
        detail = "the agent is connected, but no sample of it has been stored yet"
        return Finding("service", "warning", detail, "Wait for an interval; then check that the ingestor runs.")
    return Finding("service", "ok", f"the agent {state.version} runs, and its samples are stored")
