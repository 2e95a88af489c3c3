"""Log files that are rotated.

Invariants:
- A file takes bounded space together with its predecessors, and only its owner can read it.
- A file that cannot be written, as on a full disk, is reported once, not with a traceback per line. Lines are lost
  until it can be written again.
"""

import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from typing_extensions import override


class LogFile(RotatingFileHandler):
    """Handler that appends to a file. `report` gets a sentence about a file that cannot be written.

    Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int, kept: int, report: Callable[[str], None]) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8")
        self._report = report
        self._failing = self._failed = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        super().emit(record)
        self._failing = self._failed

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._failed = True
        if not self._failing:
            self._report(f"cannot write the log {self.baseFilename}: {error.strerror}: lines are lost until it can")

    @override
    def close(self) -> None:
        try:
            super().close()
        except OSError:
            self.stream = None  # what could not be written is lost

    @override
    def _open(self) -> TextIOWrapper:
        os.close(os.open(self.baseFilename, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        return super()._open()
