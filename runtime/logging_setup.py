"""Logging of a part: one line per record, as text or JSON, to standard error or to a rotated file.

Invariants:
- Times are UTC. A JSON record is one line of ASCII whatever it contains: text from machines cannot begin another one.
- A log file is private and bounded (`runtime.log_file`).
"""

import json
import logging
import sys
import time
from pathlib import Path

from typing_extensions import override

from runtime.errors import UserError
from runtime.settings.part_settings import PartSettings

_TIME = "%Y-%m-%dT%H:%M:%S"


class JsonLines(logging.Formatter):
    """Formats a record as an object: at, level, logger, message, and exception if there is one."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": f"{self.formatTime(record, _TIME)}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def start_logging(settings: PartSettings) -> None:
    """Configure logging from a part's settings. Raises UserError if the log file cannot be written."""
    logging.Formatter.converter = time.gmtime
    text = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", _TIME)
    handler = logging.StreamHandler(sys.stderr) if settings.log_file is None else _to_file(settings, settings.log_file)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs every plug-in it loads


def _to_file(settings: PartSettings, path: Path) -> logging.Handler:
    from runtime.log_file import LogFile  # here: most agents log to standard error, and need not load it

    def report(sentence: str) -> None:
        sys.stderr.write(f"dashfleet: {sentence}\n")

    try:
        return LogFile(path, max_bytes=settings.log_file_max_bytes, kept=settings.log_files_kept, report=report)
    except OSError as error:
        raise UserError(f"cannot write the log file {path}: {error.strerror}: set log_file to another path") from None
