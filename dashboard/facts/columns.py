"""Columns of a table of items: which fields have one. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dashboard.facts import texts

FIELD_COLUMNS_MAX: Final = 5


def chosen(fields: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the fields with a column of their own: those that most items have, texts before numbers."""
    counts: dict[str, int] = {}
    are_texts: dict[str, bool] = {}
    for item in fields:
        for name, value in item.items():
            counts[name] = counts.get(name, 0) + (value is not None)
            are_texts[name] = are_texts.get(name, False) or isinstance(value, str)
    places = {name: place for place, name in enumerate(counts)}
    ordered = sorted(counts, key=lambda name: (-counts[name], not are_texts[name], places[name]))
    return ordered[:FIELD_COLUMNS_MAX]


def heads(names: Iterable[str], fields: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the labels of these fields."""
    known = {name: value for item in fields for name, value in item.items() if value is not None}
    return [texts.field(name, known.get(name))[0] for name in names]


def values(names: Iterable[str], fields: Mapping[str, Any]) -> list[str]:
    """Return the formatted values of an item in these columns; empty where it has none."""
    return [texts.field(name, fields[name])[1] if name in fields else "" for name in names]


def others(names: Iterable[str], fields: Mapping[str, Any]) -> str:
    """Return the fields without a column in one line."""
    shown = set(names)
    return texts.details({name: value for name, value in fields.items() if name not in shown})
