"""Dead letters: rejected messages, of which the newest are kept with the start of their payload."""

from collections.abc import Sequence

from sqlalchemy import delete, func, insert, select
from sqlalchemy.engine import Connection

from ingestor.domain.dead_letter import DeadLetter
from schemas.database.engine import storable
from schemas.database.tables import dead_letter

PAYLOAD_KEPT_BYTES = 4096
_PRUNED_EACH = 100
"""Number of new dead letters after which the oldest are deleted, since counting costs."""


class DeadLetters:
    """Keeps about `keep` dead letters."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._since_pruning = 0

    def write(self, connection: Connection, letters: Sequence[DeadLetter]) -> None:
        """Store dead letters as a part of a transaction; delete the oldest from time to time."""
        if not letters:
            return
        rows = [
            {
                "received_at": letter.received_at,
                "topic": storable(letter.topic),
                "reason": letter.reason,
                "detail": storable(letter.detail),
                "size_bytes": len(letter.payload),
                "payload_start": storable(letter.payload[:PAYLOAD_KEPT_BYTES].decode("utf-8", "backslashreplace")),
            }
            for letter in letters
        ]
        connection.execute(insert(dead_letter), rows)
        self._since_pruning += len(rows)
        if self._since_pruning >= _PRUNED_EACH:
            self._since_pruning = 0
            newest = connection.scalar(select(func.max(dead_letter.c.id))) or 0
            connection.execute(delete(dead_letter).where(dead_letter.c.id <= newest - self._keep))
