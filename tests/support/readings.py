"""Readings of devices as a busy server has them: 60 each minute."""

import random
from collections.abc import Iterator

from schemas.fleet.history import MINUTE
from schemas.series.sample_block import SeriesSample

SERIES_METRICS = [
    {**each, "location": "series"}
    for each in (
        {"name": "disk_used_percent", "unit": "percent", "title": "Disk", "device": "mount"},
        {"name": "disk_read_bytes", "unit": "bytes", "title": "Read", "device": "disk", "kind": "counter"},
        {"name": "disk_written_bytes", "unit": "bytes", "title": "Written", "device": "disk", "kind": "counter"},
        {"name": "cpu_core_percent", "unit": "percent", "title": "Core", "device": "core"},
        {
            "name": "network_received_bytes",
            "unit": "bytes",
            "title": "Received",
            "device": "interface",
            "kind": "counter",
        },
        {"name": "network_sent_bytes", "unit": "bytes", "title": "Sent", "device": "interface", "kind": "counter"},
        {"name": "sensor_celsius", "unit": "celsius", "title": "Sensor", "device": "sensor"},
    )
]
"""Descriptions of the metrics of `Devices`, as in `Info`."""


class Devices:
    """The devices of a machine: mounts, cores, interfaces, disks, sensors."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = chance = random.Random(seed)  # noqa: S311 - made-up readings
        self._used = {f"/mnt/volume{number}": chance.uniform(5, 95) for number in range(8)}
        self._cores = {str(number): chance.choice([3, 10, 40]) for number in range(16)}
        self._celsius = {f"coretemp Core {number}": chance.uniform(30, 60) for number in range(12)}
        names = [(f"network_{way}_bytes", f"eth{number}") for way in ("received", "sent") for number in range(4)]
        names += [(f"disk_{way}_bytes", f"sd{letter}") for way in ("read", "written") for letter in "abcdefgh"]
        self._counters = {name: [chance.randrange(10**12), chance.choice([0, 5e4, 5e6, 5e7])] for name in names}

    def read(self) -> dict[str, dict[str, float | None]]:
        """The readings of the next minute."""
        chance = self._chance
        found: dict[str, dict[str, float | None]] = {"disk_used_percent": {}, "sensor_celsius": {}}
        for name in self._used:
            self._used[name] = min(100.0, self._used[name] + (chance.random() < 0.05) * 0.1)
            found["disk_used_percent"][name] = round(self._used[name], 1)
        found["cpu_core_percent"] = {
            name: round(min(100.0, max(0.0, chance.gauss(level, level / 3))), 1) for name, level in self._cores.items()
        }
        for name in self._celsius:
            self._celsius[name] += chance.gauss(0, 0.5)
            found["sensor_celsius"][name] = float(round(self._celsius[name]))
        for (metric, device), counter in self._counters.items():
            counter[0] += int(chance.lognormvariate(0, 0.8) * counter[1])
            found.setdefault(metric, {})[device] = int(counter[0])
        return found


def realistic_hour(start: int) -> Iterator[SeriesSample]:
    """The series of a machine's samples of one hour."""
    devices = Devices()
    for minute in range(60):
        yield SeriesSample(start + minute * MINUTE + 137, 1, 1 + 6 * minute, devices.read())
