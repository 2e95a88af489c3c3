"""Rows as text for other programs: CSV or JSON lines.

Invariants:
- No cell of a CSV file is a spreadsheet formula, whatever a machine calls itself.
- Text in a CSV file is as readable as on a page: no character reverses or hides the text around it.
- A missing value is an empty cell or JSON's null, never a zero.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any, Final

from dashboard.i18n.text import readable

MEDIA_TYPES: Final = {"csv": "text/csv", "jsonl": "application/jsonl"}
"""The formats, with their media types."""

Rows = list[dict[str, Any]]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Prefixes of a text that a spreadsheet may take for a formula; the last four are the wide forms of the first four."""


def header(fmt: str, names: Sequence[str]) -> str:
    """Return the start of a file: the column names, in CSV."""
    return _csv([names]) if fmt == "csv" else ""


def lines(fmt: str, names: Sequence[str], rows: Rows) -> str:
    """Return these columns of the rows, a line each."""
    if fmt == "csv":
        return _csv([_cell(row[name]) for name in names] for row in rows)
    return "".join(f"{to_json({name: row[name] for name in names})}\n" for row in rows)


def to_json(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Encode as JSON in one line."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def iso(milliseconds: int) -> str:
    """Format a time as ISO 8601, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv(rows: Any) -> str:  # noqa: ANN401 - what csv takes
    text = StringIO()
    csv.writer(text).writerows(rows)  # ends lines with \r\n, as RFC 4180 requires, so that a lone \r is quoted, too
    return text.getvalue()


def _cell(value: Any) -> Any:  # noqa: ANN401 - of any type
    if isinstance(value, str):
        shown = readable(value)
        return f"'{shown}" if shown.startswith(_FORMULA) else shown
    if isinstance(value, Mapping):
        return readable(to_json(value)) if value else ""
    return value
