"""Size of series on the wire: names and numbers are as short as JSON allows."""

from pathlib import Path

from readings import Devices

import agent.collectors
from agent.collection.series import SeriesBuilder
from agent.collector import discover_details
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Sample, Series, Telemetry, Vitals

LOADS: dict[str, dict[str, float | int]] = {
    "disk_used_percent": {"/": 48.5, "/data": 71.23456, "/boot": 23.0, "/home": 12.34, "/var": 60.06, "/srv": 0.0},
    "cpu_core_percent": {str(core): 2.1 * core + 0.04 for core in range(40)},
    "disk_busy_percent": {"sda": 12.345, "sdb": 0.0, "sdc": 99.99, "sdd": 3.0},
    "pressure_some_percent": {"cpu": 3.21, "memory": 0.0, "io": 1.5},
    "pressure_full_percent": {"memory": 0.0, "io": 1.2},
    "network_error_count": {"eth0": 0, "eth1": 17},
    "network_drop_count": {"eth0": 1234, "eth1": 0},
    "fan_rpm": {"CPU": 912},
}
"""60 readings of which few are large numbers."""

SERVER: dict[str, dict[str, float | int]] = {
    **LOADS,
    "cpu_core_percent": {str(core): 5.1 * core + 0.04 for core in range(16)},
    "disk_used_bytes": {
        "/": 24_117_248_000,
        "/data": 1_430_224_568_320,
        "/boot": 220_000_256,
        "/home": 9_876_543_488,
        "/var": 30_198_988_800,
        "/srv": 4096,
    },
    "disk_free_inodes": {"/": 2_900_000, "/data": 121_000_000, "/boot": 65_000, "/home": 5_900_000, "/var": 3_100_000},
    "network_received_bytes": {"eth0": 987_654_321_012, "eth1": 1_234_567},
    "network_sent_bytes": {"eth0": 87_654_321_012, "eth1": 234_567},
    "disk_read_bytes": {"sda": 10_000_024_576, "sdb": 160_528_773_120, "sdc": 4096, "sdd": 8_123_456_000},
    "disk_written_bytes": {"sda": 20_000_024_576, "sdb": 60_528_773_120, "sdc": 4096, "sdd": 7_123_456_000},
}
"""59 readings of an ordinary server: counters of bytes have eleven digits."""


def telemetry(series: Series) -> bytes:
    sample = Sample(seq=4711, sampled_at=1_760_000_000_000, vitals=Vitals(cpu_percent=12.5), series=series)
    return Telemetry(**dict(sample), session=1_760_000_000_000, stream="0" * 16, oldest_seq=4711).encode()


def built(readings: dict[str, dict[str, float | int]]) -> Series:
    builder = SeriesBuilder()
    for collector in discover_details(agent.collectors, AgentSettings(data=Path("unused"), machine="attic")):
        names = {metric.name for metric in collector.metrics}
        builder.add(collector, {metric: by for metric, by in readings.items() if metric in names})
    return builder.series


def bytes_per_reading(readings: dict[str, dict[str, float | int]]) -> float:
    series = built(readings)
    number = sum(map(len, series.values()))
    size = len(telemetry(series)) - len(telemetry({}))
    print(f"\n{size} bytes for {number} readings: {size / number:.1f} each")
    assert set(series) == set(readings)
    assert 59 <= number <= 60
    return size / number


def test_sixty_loads_cost_at_most_fourteen_bytes_each() -> None:
    assert bytes_per_reading(LOADS) <= 14


def test_sixty_readings_of_a_server_with_all_its_counters_cost_at_most_fourteen_bytes_each() -> None:
    assert bytes_per_reading(SERVER) <= 14


def test_sixty_readings_of_many_volumes_and_interfaces_cost_at_most_fourteen_bytes_each() -> None:
    series = Devices().read()
    assert sum(map(len, series.values())) == 60
    assert (len(telemetry(series)) - len(telemetry({}))) / 60 <= 14
