"""The health score: one pure function shared by agent, ingestor and dashboard.

A component (CPU, memory, disk) is worth 1 up to its knee and falls linearly to 0 at 100 percent:

    component = clamp((100 - percent) / (100 - knee), 0, 1)
    score     = round(100 × Σ weight × component)

Invariants:
- A missing component makes the status `unknown` and the score None; no reading is estimated.
- Two good components cannot compensate for an exhausted one: a component at or below 0.1 makes the status critical, at
  or below 0.5 at least warn.
"""

from enum import StrEnum
from typing import NamedTuple

from schemas.contract.org_config import Thresholds


class HealthStatus(StrEnum):
    """Health status of a machine."""

    OK = "ok"
    WARN = "warn"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Health(NamedTuple):
    """A score 0 to 100, or None while a component is missing, and its status."""

    score: int | None
    status: HealthStatus


DEFAULT_THRESHOLDS = Thresholds()


def health(
    cpu_percent: float | None,
    memory_percent: float | None,
    disk_percent: float | None,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> Health:
    """Return the health for three percentages, each 0 to 100 or None."""
    if cpu_percent is None or memory_percent is None or disk_percent is None:
        return Health(None, HealthStatus.UNKNOWN)
    cpu = worth(cpu_percent, thresholds.cpu.knee_percent)
    memory = worth(memory_percent, thresholds.memory.knee_percent)
    disk = worth(disk_percent, thresholds.disk.knee_percent)
    weighted = thresholds.cpu.weight * cpu + thresholds.memory.weight * memory + thresholds.disk.weight * disk
    score = round(100 * weighted)
    worst = cpu if cpu < memory else memory
    return Health(score, _status(score, worst if worst < disk else disk, thresholds))


def worth(percent: float, knee_percent: float) -> float:
    """Return the value of a component at a percentage: 1 up to its knee, 0 at 100."""
    if percent <= knee_percent:  # common; comparisons rather than min and max, which take most of the time
        return 1.0
    return (100.0 - percent) / (100.0 - knee_percent) if percent < 100.0 else 0.0


def _status(score: int, worst: float, thresholds: Thresholds) -> HealthStatus:
    if score < thresholds.warn_score or worst <= thresholds.component_critical:
        return HealthStatus.CRITICAL
    if score < thresholds.ok_score or worst <= thresholds.component_warn:
        return HealthStatus.WARN
    return HealthStatus.OK
