"""Lists of facts, and the changes between a list and the one before. Pure.

Invariants:
- A list with a lower session, or with the same session and a time that is not later, is old or a repetition.
- The first list of a kind is an inventory: nothing in it is a change. Nor is anything in a momentary list.
- An item of a list with omitted items may exist without being in it: only complete lists show that items appear or
  disappear.
- Numbers vary all the time, and so does the output of a program. A change is one of the health, another text or a flag.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from ingestor.domain.machine import Machine
from schemas.contract.facts import MOMENTARY, NOT_COMPARED, Fact, FactsMessage, FactValue

DIGEST_BYTES = 16
TEXT_KEPT = 100
"""Characters of a text that a change keeps."""


class FactHead(NamedTuple):
    """The message that a stored list comes from. `stated_at` by the machine's clock, `known_at` by the server's."""

    session: int
    stated_at: int
    known_at: int
    digest: str
    truncated: int = 0


class StoredFact(NamedTuple):
    """An item as it is stored."""

    health: str | None
    fields: Mapping[str, FactValue]
    since_at: int


@dataclass(frozen=True, slots=True)
class ReceivedFacts:
    """A list to store in place of the one `before`. Without a `message` the kind is cleared.

    `at`: when the list was read, by the server's clock.
    """

    machine: Machine
    kind: str
    message: FactsMessage | None = None
    digest: str = ""
    at: int = 0
    before: FactHead | None = None

    @property
    def head(self) -> FactHead | None:
        """The head of the list."""
        if self.message is None:
            return None
        return FactHead(self.message.session, self.message.at, self.at, self.digest, self.message.truncated)


class FactChange(NamedTuple):
    """A change of an item: `appeared`, `disappeared` or `changed`, with the health and the fields that differ."""

    key: str
    change: str
    health_before: str | None
    health_after: str | None
    before: dict[str, FactValue]
    after: dict[str, FactValue]


@dataclass(slots=True)
class Difference:
    """Difference between a list and the stored one: items to write with their `since_at`, keys to delete, changes."""

    written: dict[str, tuple[Fact, int]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    changes: list[FactChange] = field(default_factory=list)


def digest(payload: bytes) -> str:
    """Return the digest by which a repeated payload is recognised."""
    return blake2b(payload, digest_size=DIGEST_BYTES).hexdigest()


def is_newer(message: FactsMessage, than: FactHead | None) -> bool:
    """Return whether a message replaces the stored list."""
    return than is None or (message.session, message.at) > (than.session, than.stated_at)


def compare(stored: Mapping[str, StoredFact], received: ReceivedFacts) -> Difference:
    """Return the difference between the stored items and a received list."""
    items = {} if received.message is None else received.message.items
    before, after = received.before, received.head
    if received.kind in MOMENTARY:
        before = after = None
    found = Difference()
    for key, item in items.items():
        known = stored.get(key)
        if known is None:
            found.written[key] = item, received.at
            if before is not None and not before.truncated:
                found.changes.append(FactChange(key, "appeared", None, item.health, {}, _kept(item.fields)))
        elif (known.health, known.fields) != (item.health, item.fields):
            change = _change(key, known, item)
            found.written[key] = item, known.since_at if change is None else received.at
            found.changes += [] if change is None or before is None else [change]
    for key in stored.keys() - items.keys():
        found.deleted.append(key)
        if before is not None and after is not None and not after.truncated:
            gone = stored[key]
            found.changes.append(FactChange(key, "disappeared", gone.health, None, _kept(gone.fields), {}))
    return found


def _change(key: str, before: StoredFact, after: Fact) -> FactChange | None:
    """Return the change of an item; None if only numbers and outputs differ."""
    earlier, later = _kept(before.fields), _kept(after.fields)
    differing = [name for name in {**earlier, **later} if before.fields.get(name) != after.fields.get(name)]
    if not set(differing) - {NOT_COMPARED} and before.health == after.health:
        return None
    old, new = ({name: some[name] for name in differing if name in some} for some in (earlier, later))
    return FactChange(key, "changed", before.health, after.health, old, new)


def _kept(fields: Mapping[str, FactValue]) -> dict[str, FactValue]:
    """Return the texts, shortened, and the flags of an item."""
    return {
        name: value[:TEXT_KEPT] if isinstance(value, str) else value
        for name, value in fields.items()
        if isinstance(value, str | bool)
    }
