"""Files of an export: rows as CSV or JSON lines in text, or as Parquet."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from dashboard.export import formats
from dashboard.export.formats import Rows, iso

Fields = Mapping[str, type]
"""Names of the columns in their order with their types: str, int, float, dict (JSON), datetime (milliseconds UTC)."""

Write = Callable[[Rows], None]


def writing(fmt: str, file: Path | None, fields: Fields) -> AbstractContextManager[Write]:
    """Return a function that writes rows to a file, or to standard output, as `csv` or `jsonl`; or as `parquet`.

    Entering the context raises ImportError for Parquet if pyarrow is not installed.
    """
    return _FORMATS[fmt](file, fields)


def with_times(batch: Rows, fields: Fields) -> Rows:
    """Return rows with their times as text."""
    times = [name for name, kind in fields.items() if kind is datetime]
    return [{**row, **{name: iso(row[name]) for name in times}} for row in batch]


def _text(file: Path | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if file is None else file.open("w", encoding="utf-8", newline="")


@contextmanager
def _lines(fmt: str, file: Path | None, fields: Fields) -> Iterator[Write]:
    with _text(file) as text:
        text.write(formats.header(fmt, list(fields)))

        def write(batch: Rows) -> None:
            text.write(formats.lines(fmt, list(fields), with_times(batch, fields)))

        yield write


@contextmanager
def _parquet(file: Path | None, fields: Fields) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), datetime: pa.timestamp("ms", "UTC")}
    schema = pa.schema([(name, kinds.get(kind, pa.string())) for name, kind in fields.items()])
    objects = [name for name, kind in fields.items() if kind is dict]
    with ParquetWriter(file, schema, compression="zstd") as writer:

        def write(batch: Rows) -> None:
            plain = [row | {name: _json(row[name]) for name in objects} for row in batch]
            writer.write_table(pa.Table.from_pylist(plain, schema))

        yield write


def _json(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return formats.to_json(value) if value else None


_FORMATS: Final[Mapping[str, Callable[..., AbstractContextManager[Write]]]] = {
    "csv": partial(_lines, "csv"),
    "jsonl": partial(_lines, "jsonl"),
    "parquet": _parquet,
}
