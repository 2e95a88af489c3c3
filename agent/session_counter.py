"""Session numbers: each connection of a machine has a higher one than all before it.

    session = max(last + 1, the wall clock in milliseconds)

Invariant: the number is on disk before the connection that uses it is opened, so that a death from an old connection
can always be told from the life of the new one, also after a crash or with a clock that was set back. When the disk
cannot be written, the wall clock alone keeps the numbers growing, and the failure is logged.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from runtime import files
from schemas.contract.messages import SESSION_MAX

_FOLLOWED = SESSION_MAX // 2
"""A higher session is not followed, so that there is always room for the next."""

log = logging.getLogger(__name__)


class Sessions:
    """Gives out session numbers and remembers the last in a file."""

    def __init__(self, path: Path, *, now: Callable[[], int]) -> None:
        self._path = path
        self._now = now
        self.current = self._read()
        """The number of the last connection, 0 before the first."""

    def next(self) -> int:
        """The number for the connection that is about to be made."""
        self.current = max(self.current + 1, self._now())
        try:
            files.replace(self._path, str(self.current))
        except OSError as error:
            log.warning("cannot save the session number: %s", error)
        return self.current

    def go_beyond(self, session: int) -> None:
        """Let the next number be higher than one that was seen of this machine, though the file forgot it."""
        if session < _FOLLOWED:
            self.current = max(self.current, session)

    def _read(self) -> int:
        try:
            found = int(self._path.read_text())
        except (OSError, ValueError):
            return 0
        return found if 0 <= found < _FOLLOWED else 0
