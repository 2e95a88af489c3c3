"""Settings of an organisation: one table for the contract, the command line and the dashboard.

Invariants:
- A setting is a number and has the same name everywhere. Durations are in seconds.
- The models `OrgConfig` and `Retention` validate single values, `apply_changes` combinations of values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import ValidationError

from runtime.durations import duration
from runtime.sentences.validation_errors import FieldError, read_problems
from runtime.translatable import Translatable
from schemas.contract.org_config import OrgConfig
from schemas.fleet.history import Retention

Kind = Literal["duration", "percent", "number"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: name, title for display, and `path` in OrgConfig or, if `kept`, in Retention."""

    name: str
    title: str
    path: tuple[str, ...]
    kind: Kind = "number"
    kept: bool = False

    def shown(self, value: float) -> str:
        """Return a value for display."""
        if self.kind == "duration":
            return duration(value) if value >= 1 else f"{value:g} s"
        return f"{value:g} %" if self.kind == "percent" else f"{value:g}"


def _component(name: str, title: str) -> tuple[Setting, Setting]:
    place = ("thresholds", name)
    return (
        Setting(f"{name}_weight", f"{title} weight", (*place, "weight")),
        Setting(f"{name}_knee_percent", f"{title} penalty starts at", (*place, "knee_percent"), "percent"),
    )


def _kept(name: str, title: str) -> Setting:
    return Setting(f"keep_{name}_seconds", title, (f"{name}_seconds",), "duration", kept=True)


PRESENCE: Final = (
    Setting("stale_seconds", "Stale after no data for", ("stale_seconds",), "duration"),
    Setting("stale_intervals", "and for (number of intervals)", ("stale_intervals",)),
    Setting("offline_seconds", "Offline after no data for", ("offline_seconds",), "duration"),
    Setting("offline_intervals", "and for (number of intervals)", ("offline_intervals",)),
    Setting("time_to_live_seconds", "Long offline after no data for", ("time_to_live_seconds",), "duration"),
)
HEALTH: Final = (
    *_component("cpu", "CPU"),
    *_component("memory", "Memory"),
    *_component("disk", "Disk"),
    Setting("ok_score", "OK at or above", ("thresholds", "ok_score")),
    Setting("warn_score", "Critical below", ("thresholds", "warn_score")),
    Setting("component_warn", "Warning if any component score is at or below", ("thresholds", "component_warn")),
    Setting(
        "component_critical", "Critical if any component score is at or below", ("thresholds", "component_critical")
    ),
)
RETENTION: Final = (
    _kept("samples", "Keep samples for"),
    _kept("minutes", "Keep minute roll-ups for"),
    _kept("hours", "Keep hourly roll-ups for"),
    _kept("events", "Keep events, requests and commands for"),
)
REACHABILITY: Final = (
    Setting("unreachable_machines", "Target down if unreachable from (number of machines)", ("unreachable_machines",)),
)
SETTINGS: Final[Mapping[str, Setting]] = {
    setting.name: setting for setting in (*PRESENCE, *REACHABILITY, *HEALTH, *RETENTION)
}
"""By name, in display order."""

_NAMES: Final = {".".join(setting.path): setting.name for setting in SETTINGS.values()} | {"thresholds": ""}
"""Settings by their place in the messages."""

_ORDERED: Final = (
    ("stale_seconds", "offline_seconds"),
    ("stale_intervals", "offline_intervals"),
    ("warn_score", "ok_score"),
    ("component_critical", "component_warn"),
    ("keep_samples_seconds", "keep_minutes_seconds"),
    ("keep_minutes_seconds", "keep_hours_seconds"),
)
"""Pairs of which the first may not be larger than the second."""


def read_config(stored: object) -> OrgConfig:
    """Return the stored configuration; the defaults if it cannot be decoded."""
    try:
        return OrgConfig.model_validate(stored or {})
    except ValidationError:
        return OrgConfig()


def read_values(config: OrgConfig, retention: Retention) -> dict[str, float]:
    """Return the value of every setting, by name."""
    found = {}
    for setting in SETTINGS.values():
        value: Any = retention if setting.kept else config
        for name in setting.path:
            value = getattr(value, name)
        found[setting.name] = value
    return found


def apply_changes(
    config: OrgConfig,
    retention: Retention,
    changes: Mapping[str, float],
    names: Mapping[str, str] = MappingProxyType({}),
) -> tuple[OrgConfig, Retention]:
    """Return both with these settings changed. Raises FieldError with a sentence about a setting.

    `names`: what the reader knows the settings as.
    """
    plain: dict[bool, dict[str, Any]] = {False: config.model_dump(), True: retention.model_dump()}
    for name, value in changes.items():
        if name not in SETTINGS:
            raise FieldError(name, f"there is no setting {name}")
        setting = SETTINGS[name]
        *levels, last = setting.path
        place = plain[setting.kept]
        for level in levels:
            place = place[level]
        place[last] = int(value) if isfinite(value) and value == int(value) else value
    try:
        found = OrgConfig.model_validate(plain[False]), Retention.model_validate(plain[True])
    except ValidationError as error:
        shown = {place: names.get(name, name) for place, name in _NAMES.items()}
        problem = read_problems(error, shown)[0]
        raise FieldError(_NAMES.get(problem.field, ""), problem.sentence) from None
    _require_order(read_values(*found), changes, names)
    return found


def describe_differences(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Return the differences for display: `cpu_knee_percent 50 % → 60 %`."""
    return ", ".join(
        f"{name} {SETTINGS[name].shown(before[name])} → {SETTINGS[name].shown(value)}"
        for name, value in after.items()
        if value != before[name]
    )


def _require_order(found: Mapping[str, float], changes: Mapping[str, float], names: Mapping[str, str]) -> None:
    for lower, upper in _ORDERED:
        if found[lower] > found[upper] and (lower in changes or upper in changes):
            values = {"lower": names.get(lower, lower), "upper": names.get(upper, upper)}
            field = lower if lower in changes else upper
            raise FieldError(field, Translatable("{lower} may not be more than {upper}", **values))
