"""Groups, tables and charts of a machine's devices: the worst first, at most ten lines."""

from typing import Any

import pytest

from dashboard.i18n.text import UnitScale
from dashboard.series.device_groups import device_groups
from dashboard.series.device_lines import LINES_MAX, count_scale, device_charts, tables
from dashboard.widgets.markup import readings

MINUTE = 60_000


def described(name: str, device: str, unit: str = "percent", **more: str) -> dict[str, Any]:
    return {"name": name, "title": name, "unit": unit, "device": device, "location": "series", **more}


INFO = {
    "metrics": [
        described("sensor_celsius", "sensor", "celsius"),
        described("disk_used_percent", "mount"),
        described("disk_free_inodes", "mount", "inodes"),
        described("network_received_bytes", "interface", "bytes", kind="counter"),
        described("pump_rpm", "water pump", "rpm"),
        {"name": "fan_rpm", "title": "Fan", "unit": "rpm"},
        {"name": "network_received_bytes", "title": "Received", "unit": "bytes", "location": "vitals"},
    ]
}
LATEST = {
    "disk_used_percent": {"/": 40.0, "/data": 93.5, "/var": 71.0},
    "disk_free_inodes": {"/": 1000.0},
    "network_received_bytes": {"eth0": 3000.0, "eth1": 900.0, "lo": 5.0},
    "pump_rpm": {"north": 800.0},
}
HISTORY = {
    "network_received_bytes": {
        "eth0": [{"at": MINUTE * at, "value": 1000.0 * at} for at in range(4)],
        "eth1": [{"at": MINUTE * at, "value": 60_000.0 * at} for at in range(4)],
    },
    "disk_used_percent": {"/data": [{"at": 0, "value": 93.0}, {"at": MINUTE, "value": 93.5}]},
}


def test_groups_are_those_of_the_metrics_that_are_reported_in_a_fixed_order() -> None:
    groups = device_groups(INFO, LATEST)
    assert [(group.key, [metric.name for metric in group.metrics]) for group in groups] == [
        ("disks", ["disk_used_percent", "disk_free_inodes"]),
        ("network", ["network_received_bytes"]),
        ("water pump", ["pump_rpm"]),
    ]
    assert [group.title for group in groups] == ["Disks", "Network", "Water pump"]
    assert device_groups(None, LATEST) == []


def test_a_table_lists_the_worst_device_first_and_counters_as_rates() -> None:
    disks, network, _ = device_groups(INFO, LATEST)
    (mounts,) = tables(disks, LATEST, HISTORY, MINUTE)
    assert mounts.title == "File system"
    assert [(name, *values) for name, values in mounts.rows] == [
        ("/data", "94 %", "–"),
        ("/var", "71 %", "–"),
        ("/", "40 %", "1,000 inodes"),
    ]
    (interfaces,) = tables(network, LATEST, HISTORY, MINUTE)
    assert [(name, *values) for name, values in interfaces.rows] == [
        ("eth1", "1 kB/s"),
        ("eth0", "16.7 B/s"),
        ("lo", "–"),
    ]


def test_a_chart_has_at_most_ten_lines_of_the_worst_devices() -> None:
    latest = {"disk_used_percent": {f"/mnt/{number:02}": float(number) for number in range(30)}}
    history = {"disk_used_percent": {device: [{"at": 0, "value": 1.0}] for device in latest["disk_used_percent"]}}
    (chart,) = device_charts(device_groups(INFO, latest)[0], latest, history, MINUTE)
    assert [line.name for line in chart.lines] == [f"/mnt/{number:02}" for number in range(29, 29 - LINES_MAX, -1)]
    assert chart.title.endswith("worst 10 of 30")
    assert chart.bounds == (0.0, 100.0)


def test_a_chart_without_values_is_left_out() -> None:
    disks, network, _ = device_groups(INFO, LATEST)
    assert [chart.key for chart in device_charts(disks, LATEST, HISTORY, MINUTE)] == ["series_disk_used_percent"]
    (chart,) = device_charts(network, LATEST, HISTORY, MINUTE)
    assert chart.scale.unit.endswith("/s")
    assert device_charts(network, LATEST, {}, MINUTE) == []


def test_names_of_devices_are_escaped() -> None:
    shown = readings("File system", ["Disk"], [("<b>/data\u202e", ["<i>"])])
    assert "<b>" not in shown
    assert "<i>" not in shown


@pytest.mark.parametrize(
    ("top", "scale"), [(99_999.0, ("inodes", 1.0)), (150_000.0, ("k inodes", 1e3)), (15_966_914.0, ("M inodes", 1e6))]
)
def test_an_axis_of_large_numbers_counts_in_thousands_or_millions(top: float, scale: tuple[str, float]) -> None:
    assert count_scale(top, "inodes") == UnitScale(*scale)
