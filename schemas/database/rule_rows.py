"""Alert rules as rows of `alert_rule`, and back."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row

from schemas.contract.alert_rules import AlertRule

_FIELDS = tuple(AlertRule.model_fields)


def rule_values(rule: AlertRule, now: int) -> dict[str, Any]:
    """Return the values of a rule's row, except the organisation."""
    return {**rule.model_dump(mode="json"), "device": rule.device, "changed_at": now}


def read_rule(row: Row[Any]) -> AlertRule | None:
    """Return the rule of a row; None if a newer version wrote it in a form that this one does not know."""
    try:
        return AlertRule.model_validate({name: getattr(row, name) for name in _FIELDS})
    except ValidationError:
        return None
