"""How a part logs: one line a record, as text or as JSON, to standard error or to a file that does not grow for ever.

Invariants:
- Times are UTC. In JSON a record is one line whatever is in it, and is ASCII: what machines send cannot begin another.
- A file is only its owner's to read, and is rotated; with its old ones it takes a bounded space.
"""

import json
import logging
import os
import sys
import time
from io import TextIOWrapper
from pathlib import Path

from runtime.errors import UserError
from runtime.settings.part_settings import PartSettings

_TIME = "%Y-%m-%dT%H:%M:%S"


class JsonLines(logging.Formatter):
    """A record as an object: at, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
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
    """Log as a part's settings say. Raises UserError when the file cannot be written."""
    logging.Formatter.converter = time.gmtime
    text = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", _TIME)
    handler = logging.StreamHandler(sys.stderr) if settings.log_file is None else _to_file(settings, settings.log_file)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every plug-in it loads


def _to_file(settings: PartSettings, path: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler  # here, as an agent that has no use for it should not carry it

    class Private(RotatingFileHandler):
        def _open(self) -> TextIOWrapper:
            os.close(os.open(self.baseFilename, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
            return super()._open()

    try:
        return Private(
            path, maxBytes=settings.log_file_max_bytes, backupCount=settings.log_files_kept, encoding="utf-8"
        )
    except OSError as error:
        raise UserError(f"cannot write the log file {path}: {error.strerror}: set log_file to another") from None
