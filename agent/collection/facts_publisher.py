"""Facts on the wire: each list is published when it changes, and after each connect.

Invariants:
- A kind is published at most every FACTS_SECONDS, however often its list or the connection changes.
- The broker retains a list, but a server that was installed again has none, and a PUBACK is not seen here: so all lists
  are published again after each connect.
- A kind that is no longer stated is cleared with an empty retained payload, also by the next process: the kinds that
  were published are in a file.
- The times of a kind ascend, also when the clock is set back: a reader ignores a list that is not later.
- A message is at most FACTS_MAX_BYTES. The first items of a list are kept; the rest is counted in `truncated`.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from agent.collector import Item
from runtime import files
from runtime.clock import Clock
from schemas.contract.facts import FACT_FIELDS_MAX, FACT_ITEMS_MAX, FACT_KINDS_MAX, FACTS_MAX_BYTES, Fact, FactsMessage
from schemas.contract.text import TEXT_MAX_LENGTH, clean_line
from schemas.contract.topics import is_id

FACTS_SECONDS = 30.0
FACT_KEY_MAX = 200

log = logging.getLogger(__name__)


class FactsPublisher:
    """Decides which lists are published now. `path` is the file with the kinds that the broker may retain."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._retained = self._read()
        self._published: dict[str, Mapping[str, Item]] = {}
        self._published_at: dict[str, float] = {}
        self._stated_at: dict[str, int] = {}

    def connected(self) -> None:
        """Publish all lists again."""
        self._published.clear()

    def step(
        self,
        lists: Mapping[str, tuple[Mapping[str, Item], int]],
        pending: Set[str],
        session: int,
        publish: Callable[[str, bytes], bool],
    ) -> None:
        """Publish the lists that are due. `lists`: items by kind, and when they were read; `pending`: kinds unread yet.

        `publish` returns False if the message could not be sent; it is then tried again at the next step.
        """
        lists = {kind: lists[kind] for kind in sorted(lists) if is_id(kind)}
        lists = dict(list(lists.items())[:FACT_KINDS_MAX])
        now = self._clock.monotonic()
        for kind in sorted(self._retained - lists.keys() - pending):
            if publish(kind, b""):
                self._published.pop(kind, None)
                self._remember(self._retained - {kind})
        for kind, (items, at) in lists.items():
            if self._published.get(kind) == items or now < self._published_at.get(kind, -math.inf) + FACTS_SECONDS:
                continue
            self._remember(self._retained | {kind})
            at = max(at, self._stated_at.get(kind, 0) + 1)
            if publish(kind, encoded(items, session=session, at=at)):
                self._published[kind], self._published_at[kind], self._stated_at[kind] = items, now, at

    def _remember(self, kinds: set[str]) -> None:
        """Record the kinds before they are published, so that none is forgotten that the broker retains."""
        if kinds == self._retained:
            return
        self._retained = kinds
        try:
            files.replace(self._path, json.dumps(sorted(kinds)) + "\n")
        except OSError as error:
            log.warning("cannot write %s: %s", self._path, error)

    def _read(self) -> set[str]:
        with suppress(OSError, ValueError):
            found = json.loads(self._path.read_bytes())
            if isinstance(found, list):
                return {kind for kind in found if isinstance(kind, str) and is_id(kind)}
        return set()


def encoded(items: Mapping[str, Item], *, session: int, at: int) -> bytes:
    """Return the message with as many of the first items as fit."""
    valid = {clean_line(key)[:FACT_KEY_MAX] or "?": fact for key, item in items.items() if (fact := _fact(item))}
    kept = min(len(valid), FACT_ITEMS_MAX)
    while True:
        message = FactsMessage(
            session=session, at=at, items=dict(list(valid.items())[:kept]), truncated=len(items) - kept
        ).encode()
        if len(message) <= FACTS_MAX_BYTES:
            return message
        kept = min(kept - 1, kept * FACTS_MAX_BYTES // len(message))


def _fact(item: Item) -> Fact | None:
    fields = {
        name: clean_line(value)[:TEXT_MAX_LENGTH] if isinstance(value, str) else value
        for name, value in list(item.fields.items())[:FACT_FIELDS_MAX]
    }
    try:
        return Fact(health=item.health, fields=fields)
    except ValidationError as error:
        log.debug("an item of facts is invalid: %s", error)
        return None
