"""Which of several devices is the worst."""

from collections.abc import Mapping
from typing import Final

_LOWER_IS_WORSE: Final = frozenset(("battery_percent", "disk_free_inodes", "network_link_up"))


def lower_is_worse(metric: str) -> bool:
    """Return whether the lowest reading of a metric is the worst."""
    return metric in _LOWER_IS_WORSE


def worst_device(metric: str, readings: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the worst device of a metric with its reading; None without readings."""
    choose = min if lower_is_worse(metric) else max
    return choose(readings.items(), key=lambda pair: pair[1], default=None)
