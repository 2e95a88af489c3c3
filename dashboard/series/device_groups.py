"""Groups of the devices of a machine, by the metrics that it describes. Pure.

A new collector of a new kind of device appears as a group of its own, without an edit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboard.i18n import external_texts, text
from dashboard.i18n.device_kinds import kind_title
from dashboard.i18n.language import Marked, _, marked
from schemas.series.worst_device import lower_is_worse

_GROUPS: Final[Mapping[str, tuple[Marked, tuple[str, ...]]]] = {
    "disks": (marked("Disks"), ("mount", "disk")),
    "network": (marked("Network"), ("interface",)),
    "cores": (marked("Processor cores"), ("core",)),
    "sensors": (marked("Sensors"), ("sensor", "fan", "battery")),
    "pressure": (marked("Pressure"), ("resource",)),
    "containers": (marked("Containers"), ("container",)),
    "checks": (marked("Checks"), ("check", "target")),
}
"""Groups in their order: title, and kinds of devices."""


@dataclass(frozen=True, slots=True)
class DeviceMetric:
    """A metric of series, as the machine describes it."""

    name: str
    title: str
    unit: str
    kind: str
    """Kind of its devices."""
    is_counter: bool

    @property
    def lower_is_worse(self) -> bool:
        """Whether the lowest reading is the worst."""
        return lower_is_worse(self.name)


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """Metrics that are shown together. `key` stays the same over refreshes."""

    key: str
    title: str
    metrics: Sequence[DeviceMetric]

    @property
    def kinds(self) -> list[str]:
        """Kinds of devices, in the order of their metrics."""
        return list(dict.fromkeys(metric.kind for metric in self.metrics))


def device_groups(info: Mapping[str, Any] | None, reported: Iterable[str]) -> list[DeviceGroup]:
    """Return the groups of the metrics that a machine describes and reports."""
    known = set(reported)
    metrics = [
        DeviceMetric(
            str(each["name"]),
            text.readable(external_texts.translated_metric(str(each.get("title") or each["name"]))),
            str(each.get("unit", "")),
            str(each.get("device") or ""),
            each.get("kind") == "counter",
        )
        for each in (info or {}).get("metrics") or ()
        if each.get("location") == "series" and each["name"] in known
    ]
    placed = {kind: key for key, (_title, kinds) in _GROUPS.items() for kind in kinds}
    found: dict[str, list[DeviceMetric]] = {key: [] for key in _GROUPS}
    for metric in metrics:
        found.setdefault(placed.get(metric.kind, metric.kind), []).append(metric)
    return [DeviceGroup(key, _group_title(key), each) for key, each in found.items() if each]


def _group_title(key: str) -> str:
    return _(_GROUPS[key][0]) if key in _GROUPS else kind_title(key)
