"""Logging of a part: one line per record, as text or JSON, to standard error or to a rotated file.

Invariants:
- Times are UTC. A JSON record is one line of ASCII whatever it contains: text from machines cannot begin another one.
- Only the owner can read a log file. It is rotated, so that it takes bounded space together with its predecessors.
"""

import json
import logging
import os
import sys
import time
from io import TextIOWrapper
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
    from logging.handlers import RotatingFileHandler  # here: most agents log to standard error, and need not load it

    class Private(RotatingFileHandler):
        def _open(self) -> TextIOWrapper:
            os.close(os.open(self.baseFilename, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
            return super()._open()

    try:
        return Private(
            path, maxBytes=settings.log_file_max_bytes, backupCount=settings.log_files_kept, encoding="utf-8"
        )
    except OSError as error:
        raise UserError(f"cannot write the log file {path}: {error.strerror}: set log_file to another path") from None
