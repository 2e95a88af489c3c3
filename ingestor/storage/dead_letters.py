"""Dead letters: rejected messages with the start of their payload; of each organisation the newest are kept."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from ingestor.domain.dead_letter import DeadLetter
from schemas.contract import topics
from schemas.contract.topics import Address
from schemas.database.engine import storable
from schemas.database.tables import dead_letter

PAYLOAD_KEPT_BYTES = 4096
_PRUNED_EACH = 100
"""Number of new dead letters after which the oldest are deleted, since counting costs."""


class DeadLetters:
    """Keeps about `keep` dead letters of each organisation, so that one displaces no other's."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._since_pruning: Counter[str] = Counter()

    def write(self, connection: Connection, letters: Sequence[DeadLetter]) -> None:
        """Store dead letters as a part of a transaction; delete the oldest from time to time."""
        if not letters:
            return
        senders = [topics.parse(letter.topic) or Address(topics.STATUS) for letter in letters]
        rows = [
            {
                "received_at": letter.received_at,
                "org": sender.org,
                "machine": sender.machine,
                "topic": storable(letter.topic),
                "reason": letter.reason,
                "detail": storable(letter.detail),
                "size_bytes": len(letter.payload),
                "payload_start": storable(letter.payload[:PAYLOAD_KEPT_BYTES].decode("utf-8", "backslashreplace")),
            }
            for letter, sender in zip(letters, senders, strict=True)
        ]
        connection.execute(insert(dead_letter), rows)
        self._since_pruning.update(sender.org for sender in senders)
        for org in [org for org, number in self._since_pruning.items() if number >= _PRUNED_EACH]:
            del self._since_pruning[org]
            mine = dead_letter.c.org == org
            newest = select(dead_letter.c.id).where(mine).order_by(dead_letter.c.id.desc())
            first_too_many = connection.scalar(newest.offset(self._keep).limit(1))
            if first_too_many is not None:
                connection.execute(delete(dead_letter).where(mine, dead_letter.c.id <= first_too_many))
