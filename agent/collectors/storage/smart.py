"""Condition of disks (SMART)."""

from typing import Any

from agent.collector import DetailCollector, Details, Item
from agent.host.hardware_file import read_hardware
from schemas.contract.facts import FactValue, Judgement
from schemas.contract.messages import Metric

_BAD_ATTRIBUTES = {
    5: "reallocated_count",
    187: "uncorrectable_count",
    188: "timeout_count",
    197: "pending_count",
    198: "offline_uncorrectable_count",
}
"""Attributes that tell of a failing disk, also where the disk itself still says PASSED."""

_ORDER: tuple[Judgement | None, ...] = ("critical", "fair", "good")
_RAW_MASK = 0xFFFF
"""Some disks put further counters into the higher bytes of the raw value."""


class Smart(DetailCollector):
    """Condition, temperature and wear of disks, from the file that root's timer writes (`hardware_file`).

    A disk that says so itself is critical; one with reallocated, pending or uncorrectable sectors is fair.
    """

    metrics = (
        Metric(name="disk_celsius", unit="celsius", title="Disk", device="disk"),
        Metric(name="disk_wear_percent", unit="percent", title="Wear", device="disk"),
    )
    facts = ("smart",)
    interval_seconds = 300.0
    needs = "smartctl 7, and a timer of root's that writes the file"

    def present(self) -> bool:
        """Return True if the file is there."""
        return self.settings.hardware_file.is_file()

    def collect(self) -> Details:
        """Return the disks, the worst first. Raises OSError if the file cannot be read."""
        details = Details(facts={"smart": {}})
        items: dict[str, Item] = {}
        for name, disk in read_hardware(self.settings.hardware_file).items():
            celsius, nvme = _number(disk, "temperature", "current"), _part(disk, "nvme_smart_health_information_log")
            wear = _number(nvme, "percentage_used")
            if celsius is not None:
                details.add(name, disk_celsius=celsius)
            if wear is not None:
                details.add(name, disk_wear_percent=min(100, wear))
            items[name] = _item(disk, nvme)
        for name in sorted(items, key=lambda name: (_ORDER.index(items[name].health), name)):
            details.facts["smart"][name] = items[name]
        return details


def _item(disk: dict[str, Any], nvme: object) -> Item:
    passed = _part(disk, "smart_status", "passed")
    counts = {_BAD_ATTRIBUTES[number]: count for number, count in _attributes(disk).items() if count}
    if media_errors := _number(nvme, "media_errors"):
        counts["media_error_count"] = media_errors
    spare, threshold = _number(nvme, "available_spare"), _number(nvme, "available_spare_threshold")
    worn_out = spare is not None and threshold is not None and spare < threshold
    health: Judgement = "good"
    if counts or (_number(nvme, "percentage_used") or 0) >= 100:
        health = "fair"
    if passed is False or worn_out or _number(nvme, "critical_warning"):
        health = "critical"
    fields: dict[str, FactValue] = {
        "passed": passed if isinstance(passed, bool) else None,
        "model": str(_part(disk, "model_name") or "") or None,
        "serial_number": str(_part(disk, "serial_number") or "") or None,
        "power_on_days": _days(_number(disk, "power_on_time", "hours")),
        **counts,
    }
    return Item({name: value for name, value in fields.items() if value is not None}, health)


def _attributes(disk: dict[str, Any]) -> dict[int, int]:
    table = _part(disk, "ata_smart_attributes", "table")
    found = {_number(each, "id"): _number(each, "raw", "value") for each in (table if isinstance(table, list) else ())}
    return {number: (found[number] or 0) & _RAW_MASK for number in _BAD_ATTRIBUTES if number in found}


def _days(hours: int | None) -> int | None:
    """Return whole days, so that the list does not change every hour."""
    return None if hours is None else hours // 24


def _part(value: object, *names: str) -> Any:  # noqa: ANN401 - JSON
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _number(value: object, *names: str) -> int | None:
    found = _part(value, *names)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
