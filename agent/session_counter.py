"""Session numbers: each connection of a machine has a higher one than all before it.

    session = max(last + 1, the wall clock in milliseconds)

Invariant: the number is on disk before the connection that uses it is opened, so that the death of an old connection
can always be told from the birth of a new one, also after a crash or with a clock that was set back. When the disk
cannot be written, the wall clock alone keeps the numbers growing, and the failure is logged.
"""

import logging
from pathlib import Path

from runtime import files
from runtime.clock import Clock
from schemas.contract.messages import SESSION_MAX

_FOLLOWED_MAX = SESSION_MAX // 2
"""A higher session is ignored, so that there is always room for the next."""

log = logging.getLogger(__name__)


class SessionCounter:
    """Assigns session numbers and stores the last one in a file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self.current = self._read()
        """Session number of the last connection, 0 before the first."""

    def next(self) -> int:
        """Assign and return the number of the next connection."""
        self.current = max(self.current + 1, self._clock.now())
        try:
            files.replace(self._path, str(self.current))
        except OSError as error:
            log.warning("cannot save the session number: %s", error)
        return self.current

    def exceed(self, session: int) -> None:
        """Make the next number higher than one that was seen of this machine, though the file does not have it."""
        if session < _FOLLOWED_MAX:
            self.current = max(self.current, session)

    def _read(self) -> int:
        try:
            found = int(self._path.read_text())
        except (OSError, ValueError):
            return 0
        return found if 0 <= found < _FOLLOWED_MAX else 0
