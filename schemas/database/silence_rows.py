"""Silences as rows of `silence`, and back."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row

from schemas.contract.alerts import Weekly
from schemas.contract.machine_selector import MachineSelector
from schemas.fleet.silences import Silence

_FIELDS = ("id", "rule", "starts_at", "ends_at", "reason", "created_at", "created_by", "ended_at", "ended_by")


def silence_values(silence: Silence) -> dict[str, Any]:
    """Return the values of a new silence's row, except the organisation."""
    fields = ("rule", "starts_at", "ends_at", "reason", "created_at", "created_by")
    return {
        **{name: getattr(silence, name) for name in fields},
        "selector": silence.selector.model_dump(mode="json"),
        "weekly": None if silence.weekly is None else silence.weekly.model_dump(mode="json"),
    }


def read_silence(row: Row[Any]) -> Silence | None:
    """Return the silence of a row; None if a newer version wrote it in a form that this one does not know."""
    try:
        selector = MachineSelector.model_validate(row.selector)
        weekly = None if row.weekly is None else Weekly.model_validate(row.weekly)
    except ValidationError:
        return None
    return Silence(selector=selector, weekly=weekly, **{name: getattr(row, name) for name in _FIELDS})
