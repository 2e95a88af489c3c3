"""TCP and TLS probes: whether a connection is accepted."""

from agent.probes.addresses import Permits
from agent.probes.connection import connected, secured
from agent.probes.outcome import Deadline, ProbeOutcome
from runtime.settings.probe import Probe


def probe_tcp(probe: Probe, deadline: Deadline, permits: Permits) -> ProbeOutcome:
    """Connect, and shake hands if it is TLS; nothing is sent or read. Raises OSError."""
    target = probe.parsed
    with connected(target, deadline, permits) as connection:
        if target.scheme == "tcp":
            return ProbeOutcome(True, "connected", deadline.taken())
        with secured(connection, target, deadline, probe.ca_file) as (_wrapped, days):
            return ProbeOutcome(True, "connected", deadline.taken(), days)
