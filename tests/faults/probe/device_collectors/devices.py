"""A detail collector of verifiable series: a random number, from which the readings of all its devices follow.

`faults.series_oracle` tells what became of every number.
"""

import hashlib
import secrets
from pathlib import Path

from agent.collector import DetailCollector, Details
from agent.outbox.outbox import Outbox
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Extra, Metric, Sample, Series, Vitals

DEVICES = 4
JOURNALS = "PROBE_DEVICES"
"""Variable with the directory of the journals of processes."""


def series_of(number: int) -> dict[str, dict[str, float | int | None]]:
    """Return the series with this number: three readings of each device."""
    found: dict[str, dict[str, float | int | None]] = {}
    for device in range(DEVICES):
        digest = int.from_bytes(hashlib.sha256(f"{number} {device}".encode()).digest()[:5], "big")
        found.setdefault("device_number", {})[f"/d{device}"] = number + device
        found.setdefault("device_percent", {})[f"/d{device}"] = digest % 1001 / 10
        found.setdefault("device_bytes", {})[f"/d{device}"] = digest if digest % 7 else None
    return found


def journal_of(directory: Path, machine: str) -> Path:
    """Return the journal of a machine's numbers."""
    return directory / f"{machine}.devices"


class JournallingOutbox(Outbox):
    """Writes the number of a sample's series into a journal before the sample is taken.

    Readings that a later one replaces before any sample takes them are not in it.
    """

    journal: Path

    def append(self, sampled_at: int, vitals: Vitals, extra: Extra, series: Series | None = None) -> Sample:
        if series:
            with self.journal.open("ab") as file:
                file.write(b"%d\n" % int(series["device_number"]["/d0"] or 0))
        return super().append(sampled_at, vitals, extra, series)


class ProbeDevices(DetailCollector):
    """Some devices; `issued` are the numbers in their order."""

    metrics = (
        Metric(name="device_number", unit="1", title="Number", device="disk"),
        Metric(name="device_percent", unit="percent", title="Percent", device="disk"),
        Metric(name="device_bytes", unit="bytes", title="Bytes", device="disk", kind="counter"),
    )

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self.issued: list[int] = []

    def present(self) -> bool:
        return True

    def collect(self) -> Details:
        """Issue the next number."""
        number = secrets.randbits(48)
        self.issued.append(number)
        return Details(series=series_of(number))
