"""A collector of verifiable samples: a random number, written to a journal, and readings derived from it.

The journal lists every sample that was taken: a stored sample whose number is not in it is spurious, and one whose
readings do not follow from its number is corrupt.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from agent.collector import Collector, Readings
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric

JOURNAL = "PROBE_JOURNAL"
UPTIME = Path("/proc/uptime")


def readings_of(number: int) -> Mapping[str, float | int]:
    """Return the readings of the sample with this number."""
    digest = int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:6], "big")
    return {
        "cpu_percent": number % 1001 / 10,
        "memory_percent": digest % 1001 / 10,
        "disk_percent": (number ^ digest) % 1001 / 10,
        "memory_used_bytes": digest,
        "network_received_bytes": number,
        "network_sent_bytes": number + digest,
        "process_count": digest % 65_536,
        "load_1m": number % 10_007 / 100,
        "probe_number": float(number),
        "probe_check": float(number ^ digest),
    }


class Probe(Collector):
    """Verifiable numbers, and the uptime, from which the ingestor dates samples."""

    metrics = (
        Metric(name="probe_number", unit="1", title="Number"),
        Metric(name="probe_check", unit="1", title="Check"),
        Metric(name="uptime_seconds", unit="seconds", title="Uptime"),
        *(Metric(name=name, unit="1", title=name) for name in readings_of(0) if not name.startswith("probe")),
    )

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._journal = os.open(Path(os.environ[JOURNAL]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def collect(self) -> Readings:
        """Write the journal first, so that no stored sample is missing from it."""
        number = secrets.randbits(48)
        os.write(self._journal, b"%d\n" % number)
        return {**readings_of(number), "uptime_seconds": _uptime()}


def _uptime() -> int:
    """Read the kernel's file: libfaketime shifts CLOCK_BOOTTIME, which no clock step changes."""
    return int(float(UPTIME.read_text().split()[0]))
