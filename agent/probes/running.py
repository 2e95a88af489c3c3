"""Running one probe: the outcome of each attempt, and the judgement of the last ones.

Invariants:
- Whatever the target answers, an attempt ends within its time limit and raises nothing.
- A target counts as not reachable after a number of failed attempts in a row; before, it is a warning.
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from agent.probes.addresses import NotPermittedError, Permits, is_internal
from agent.probes.dns import probe_dns
from agent.probes.http import probe_http
from agent.probes.icmp import probe_icmp
from agent.probes.outcome import Deadline, ProbeOutcome
from agent.probes.sockets import probe_tcp
from runtime.settings.probe import Probe
from runtime.settings.probe_target import TargetPattern
from schemas.contract.facts import RANKS, Judgement

_KINDS: Final[dict[str, Callable[[Probe, Deadline, Permits], ProbeOutcome]]] = {
    "tcp": probe_tcp,
    "tls": probe_tcp,
    "http": probe_http,
    "https": probe_http,
    "dns": probe_dns,
    "icmp": probe_icmp,
}


class ProbeState(NamedTuple):
    """The last outcome of a probe with its judgement. `reachable`: None while this is not certain."""

    outcome: ProbeOutcome
    health: Judgement
    reachable: bool | None


class RunningProbe:
    """A probe and its failures. `patterns`: the allow-list of the owner for a probe of an operator, else None."""

    def __init__(self, probe: Probe, patterns: Sequence[TargetPattern] | None) -> None:
        self.probe = probe
        self._patterns = patterns
        self._failures = 0

    def __call__(self) -> ProbeState:
        """Probe the target once."""
        outcome = attempt(self.probe, self._permits)
        if outcome.reachable is None:
            return ProbeState(outcome, "unknown", None)
        self._failures = 0 if outcome.reachable else self._failures + 1
        if outcome.reachable:
            return ProbeState(outcome, self._of_certificate(outcome.certificate_days), True)
        is_certain = self._failures >= self.probe.failures
        worst = min("fair", self._of_certificate(outcome.certificate_days), key=RANKS.__getitem__)
        return ProbeState(outcome, "critical" if is_certain else worst, False if is_certain else None)

    def _of_certificate(self, days: float | None) -> Judgement:
        if days is None or days > max(self.probe.certificate_warning_days, self.probe.certificate_critical_days):
            return "good"
        return "critical" if days <= self.probe.certificate_critical_days else "fair"

    def _permits(self, address: IPv4Address | IPv6Address) -> bool:
        target = self.probe.parsed
        if self._patterns is None or target.address is not None or not is_internal(address):
            return True
        return any(pattern.permits(target, address) for pattern in self._patterns)


def attempt(probe: Probe, permits: Permits) -> ProbeOutcome:
    """Return the outcome of one attempt."""
    deadline = Deadline(probe.timeout_seconds)
    try:
        return _KINDS[probe.parsed.scheme](probe, deadline, permits)
    except TimeoutError:
        return ProbeOutcome(False, f"no answer within {probe.timeout_seconds:g} s")
    except NotPermittedError as error:
        return ProbeOutcome(None, str(error))
    except ssl.SSLCertVerificationError as error:
        return ProbeOutcome(False, f"the certificate cannot be verified: {error.verify_message}")
    except ssl.SSLError as error:
        return ProbeOutcome(False, f"TLS failed: {error.reason or 'the connection was closed'}")
    except socket.gaierror as error:
        return ProbeOutcome(False, f"the name cannot be resolved: {error.strerror}")
    except OSError as error:
        return ProbeOutcome(False, (error.strerror or str(error) or type(error).__name__).lower())
    except (http.client.HTTPException, ValueError, KeyError) as error:
        return ProbeOutcome(False, f"the answer is invalid: {type(error).__name__}")
