"""A detail collector of verifiable series: a random number, from which the readings of all its devices follow.

`judge_series` tells what became of every number: it is stored once, with all its readings, in the order of issue.
"""

import hashlib
import secrets

from sqlalchemy import Engine, select

from agent.collector import DetailCollector, Details
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric
from schemas.database import tables
from schemas.database.series.stored_series import read_samples

DEVICES = 4
_EVER = 1 << 60


def series_of(number: int) -> dict[str, dict[str, float | int | None]]:
    """Return the series with this number: three readings of each device."""
    found: dict[str, dict[str, float | int | None]] = {}
    for device in range(DEVICES):
        digest = int.from_bytes(hashlib.sha256(f"{number} {device}".encode()).digest()[:5], "big")
        found.setdefault("device_number", {})[f"/d{device}"] = number + device
        found.setdefault("device_percent", {})[f"/d{device}"] = digest % 1001 / 10
        found.setdefault("device_bytes", {})[f"/d{device}"] = digest if digest % 7 else None
    return found


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


def judge_series(engine: Engine, issued: list[int], *, dropped: bool = False) -> dict[str, int]:
    """Return how many numbers were stored, and are missing, spurious or corrupted.

    The last one may not have found its sample. `dropped`: those of the oldest samples may be gone, too.
    """
    with engine.connect() as connection:
        (machine_id,) = connection.scalars(select(tables.machine.c.id)).all()
    places = {number: place for place, number in enumerate(issued)}
    found, spurious, corrupted = list[int](), 0, 0
    for sample in read_samples(engine, machine_id, start=0, end=_EVER):
        number = int(sample.readings["device_number"].get("/d0") or -1)
        if number not in places:
            spurious += 1
            continue
        found.append(places[number])
        corrupted += without_null(sample.readings) != without_null(series_of(number))
    spurious += len(found) - len(set(found))
    corrupted += found != sorted(found)
    first = min(found, default=0) if dropped else 0
    missing = set(range(first, len(issued) - 1)) - set(found)
    return {"stored": len(found), "missing": len(missing), "spurious": spurious, "corrupted": corrupted}


def without_null(series: object) -> dict[str, dict[str, float]]:
    """Return the readings that are known: a block has no column for a device without any."""
    assert isinstance(series, dict)
    return {
        metric: {name: reading for name, reading in devices.items() if reading is not None}
        for metric, devices in series.items()
    }
