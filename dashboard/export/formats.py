"""Rows as text for other programs: CSV or JSON lines.

Invariants:
- No cell of a CSV file is a spreadsheet's formula, whatever a machine calls itself.
- A value that is not there is an empty cell, or JSON's null; never a zero.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, Final

FORMS: Final = {"csv": "text/csv", "jsonl": "application/jsonl"}
"""The forms, with their media types."""

Rows = list[dict[str, Any]]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet may take for a formula; the last four are the wide forms of the first four."""


def head(form: str, names: Sequence[str]) -> str:
    """What a file begins with: the columns' names, where its rows do not say them."""
    return _csv([names]) if form == "csv" else ""


def body(form: str, names: Sequence[str], some: Rows) -> str:
    """These columns of some rows, a line each."""
    if form == "csv":
        return _csv([_cell(row[name]) for name in names] for row in some)
    return "".join(f"{to_json({name: row[name] for name in names})}\n" for row in some)


def to_json(value: Any) -> str:  # noqa: ANN401 - any JSON
    """As JSON in one line."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _csv(rows: Any) -> str:  # noqa: ANN401 - what csv takes
    text = StringIO()
    csv.writer(text).writerows(rows)  # ends lines with \r\n, as RFC 4180 says, so that a lone \r is quoted, too
    return text.getvalue()


def _cell(value: Any) -> Any:  # noqa: ANN401 - of any type
    """A text that could be a formula is marked as a text, by an apostrophe before it."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, Mapping):
        return to_json(value) if value else ""
    return value
