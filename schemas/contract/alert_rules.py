"""Alert rules as data: conditions on the machines of one organisation that an administrator edits.

Invariants:
- A rule is complete in itself, except for a threshold that is taken from the health parameters of its organisation.
- A rule that cannot be evaluated as it is written is not valid: a metric without a threshold, a clear threshold on the
  wrong side.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from runtime.sentences.validation_errors import FieldError
from schemas.contract.machine_selector import MachineSelector
from schemas.contract.messages import ContractModel, Identifier, Reading
from schemas.contract.org_config import Component, Thresholds
from schemas.contract.text import Line

RULES_MAX: Final = 200
"""Rules of one organisation."""

DURATION_MAX_SECONDS: Final = 86_400
CLOCK_MIN_SECONDS: Final = 5
"""Smaller differences between two clocks may be network delay."""

DAYS_MAX: Final = 365

RuleKind = Literal[
    "above",
    "below",
    "rate-above",
    "rate-below",
    "no-data",
    "changed",
    "disk-full",
    "away",
    "clock",
    "rejected",
    "unhealthy",
]

HEALTH_METRICS: Final = {"cpu_percent": "cpu", "memory_percent": "memory", "disk_percent": "disk"}
"""Metrics whose rules may take the threshold from the health parameters, and the component there."""

CHANGES: Final = ("boot", "agent_version", "os_version")
"""Properties of a machine whose change a rule can watch, beside the items of its lists."""

MEASURED: Final = ("above", "below", "rate-above", "rate-below")
"""Kinds that compare a reading, or its increase."""

_ABOUT_FACTS: Final = ("changed", "unhealthy")
_NEEDS_THRESHOLD: Final = (*MEASURED, "disk-full", "clock", "rejected")
_LOWER: Final = ("below", "rate-below", "disk-full")
"""Kinds whose condition is fulfilled at or below the threshold."""

MetricOrNone = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,62})?$")]
Duration = Annotated[float, Field(ge=0, le=DURATION_MAX_SECONDS)]


class AlertRule(ContractModel):
    """An alert rule.

    An alert opens when the condition has been fulfilled for `for_seconds` without a break, and ends when it has not
    been for `clear_seconds`. While it is open, `clear_threshold` replaces the threshold. The kinds:

    - `above`, `below`: the metric is at least, or at most, the threshold; `rate-above`, `rate-below`: its increase per
      second is. Without a threshold, `above` uses the percentage from which CPU, memory or disk alone make the health
      of a machine critical.
    - With `device`, these four compare the worst of the devices of a series whose names match this pattern (`/data*`).
    - `no-data`: the machine reports, but without the metric (empty: without CPU, memory or disk).
    - `changed`: `metric` is one of CHANGES and has changed; the alert lasts `clear_seconds`. With `device`, `metric` is
      a kind of facts, and an item whose key matches this pattern appeared, disappeared or changed.
    - `unhealthy`: an item of the kind of facts `metric` is critical, or with the threshold 1 critical or fair; with
      `device` only items whose keys match this pattern count.
    - `disk-full`: the disk is forecast to be full within this number of days; with `device`, one of the file systems
      whose mount points match this pattern.
    - `away`: the machine went silent without a graceful stop.
    - `clock`: its clock is wrong by at least this number of seconds.
    - `rejected`: at least this number of its messages was rejected within an hour.
    """

    name: Identifier
    title: Annotated[Line, Field(min_length=1, max_length=64)]
    kind: RuleKind
    metric: MetricOrNone = ""
    device: Annotated[Line, Field(max_length=128)] = Field(default="", exclude_if=lambda pattern: not pattern)
    threshold: Reading | None = None
    for_seconds: Duration = 0
    clear_threshold: Reading | None = None
    clear_seconds: Duration = 60
    severity: Literal["warning", "critical"] = "warning"
    selector: MachineSelector = MachineSelector()
    enabled: bool = True

    @property
    def family(self) -> tuple[str, str, str, str]:
        """Rules of which only those with the most specific selector apply: kind, metric, device, severity."""
        return self.kind, self.metric, self.device, self.severity

    @property
    def is_lower(self) -> bool:
        """Whether the condition is fulfilled at or below the threshold, instead of at or above it."""
        return self.kind in _LOWER

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.kind in MEASURED and not self.metric:
            raise FieldError("metric", f"a rule of kind {self.kind} needs a metric")
        self._check_facts()
        if self.kind == "changed" and self.for_seconds:
            raise FieldError("for_seconds", "a change happens at one moment: its rule begins an alert at once")
        if self.metric and self.kind in ("disk-full", "away", "clock", "rejected"):
            raise FieldError("metric", f"a rule of kind {self.kind} has no metric")
        if self.device and self.kind not in (*MEASURED, *_ABOUT_FACTS, "disk-full"):
            raise FieldError("device", f"a rule of kind {self.kind} has no device")
        self._check_threshold()
        return self

    def _check_facts(self) -> None:
        if self.kind == "unhealthy" and not self.metric:
            raise FieldError(
                "metric", "a rule of kind unhealthy needs a kind of facts as its metric, such as containers"
            )
        if self.kind == "unhealthy" and self.threshold not in (None, 1, 2):
            raise FieldError("threshold", "the threshold of a rule of kind unhealthy is 1 (warning) or 2 (critical)")
        of_machine = self.metric in CHANGES
        if self.kind == "changed" and not self.device and not of_machine:
            raise FieldError(
                "metric", f"the metric of a rule of kind changed is one of {', '.join(CHANGES)}; facts need a device"
            )
        if self.kind == "changed" and self.device and (of_machine or not self.metric):
            raise FieldError(
                "metric", "a rule of kind changed with a device needs a kind of facts, such as services, as metric"
            )

    def _check_threshold(self) -> None:
        of_health = self.kind == "above" and self.metric in HEALTH_METRICS
        if self.threshold is None and self.kind in _NEEDS_THRESHOLD and not of_health:
            raise FieldError("threshold", f"a rule of kind {self.kind} needs a threshold")
        if self.threshold is not None and self.kind not in (*_NEEDS_THRESHOLD, "unhealthy"):
            raise FieldError("threshold", f"a rule of kind {self.kind} has no threshold")
        if self.kind == "clock" and (self.threshold or 0) < CLOCK_MIN_SECONDS:
            raise FieldError("threshold", f"the threshold of a clock is at least {CLOCK_MIN_SECONDS} seconds")
        if self.kind == "disk-full" and not 0 < (self.threshold or 0) <= DAYS_MAX:
            raise FieldError("threshold", f"the threshold is a number of days up to {DAYS_MAX}")
        if self.kind == "rejected" and (self.threshold or 0) < 1:
            raise FieldError("threshold", "the threshold is a number of messages, at least 1")
        if self.clear_threshold is None:
            return
        if self.threshold is None:
            raise FieldError("threshold", "a clear threshold needs a threshold")
        if (self.clear_threshold < self.threshold) if self.is_lower else (self.clear_threshold > self.threshold):
            side = "below" if self.is_lower else "above"
            raise FieldError(
                "clear_threshold", f"the clear threshold is {side} the threshold: the alert would never begin"
            )


def health_threshold(metric: str, thresholds: Thresholds) -> float:
    """Return the percentage from which this metric alone makes the health critical (`schemas.fleet.health`).

    Raises KeyError for a metric that is not in HEALTH_METRICS.
    """
    component: Component = getattr(thresholds, HEALTH_METRICS[metric])
    return 100 - thresholds.component_critical * (100 - component.knee_percent)


DEFAULT_RULES: Final = (
    AlertRule(name="away", title="Machine offline", kind="away", for_seconds=60, clear_seconds=0, severity="critical"),
    AlertRule(name="clock", title="Clock off", kind="clock", threshold=60, for_seconds=300),
    AlertRule(name="cpu", title="High CPU usage", kind="above", metric="cpu_percent", for_seconds=300),
    AlertRule(
        name="disk",
        title="Disk nearly full",
        kind="above",
        metric="disk_percent",
        for_seconds=60,
        severity="critical",
    ),
    AlertRule(
        name="memory",
        title="Memory nearly full",
        kind="above",
        metric="memory_percent",
        for_seconds=300,
        severity="critical",
    ),
    AlertRule(name="unmeasured", title="Metrics unavailable", kind="no-data", for_seconds=600),
)
"""Rules of a new organisation."""
