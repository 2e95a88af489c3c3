"""The values of rules about facts: of the items whose keys match the pattern of a rule, the worst one decides.

Invariants:
- An item without a health, or that is good, is well. A list without a matching item is well, too.
- An item whose health is unknown may be anything: unless another item fulfils the condition, nothing can be told.
- Of equally bad items the first by key is named.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from schemas.alerts.device_readings import MeasuredValue
from schemas.contract.alert_rules import AlertRule

UNHEALTHY_DEFAULT: Final = 2.0
"""Threshold of a rule that names none: critical items only."""

LEVELS: Final[Mapping[str | None, float]] = {None: 0.0, "good": 0.0, "fair": 1.0, "critical": 2.0}


def is_meant(rule: AlertRule, key: str) -> bool:
    """Return whether a rule is about the item with this key; without a pattern it is about all of its kind."""
    return not rule.device or fnmatchcase(key, rule.device)


def worst_item(rule: AlertRule, healths: Mapping[str, str | None]) -> MeasuredValue:
    """Return the value of a rule of kind `unhealthy` for a list. `healths`: of its items, by key."""
    meant = {key: health for key, health in healths.items() if is_meant(rule, key)}
    known = {key: LEVELS[health] for key, health in meant.items() if health in LEVELS}
    key = min(known, key=lambda key: (-known[key], key), default="")
    threshold = UNHEALTHY_DEFAULT if rule.threshold is None else rule.threshold
    if known.get(key, 0.0) < threshold and len(known) < len(meant):
        return MeasuredValue(None)
    return MeasuredValue(known.get(key, 0.0), key)
