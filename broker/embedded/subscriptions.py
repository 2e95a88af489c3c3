"""Subscriptions as a tree of filter levels.

The cost of a look-up depends on the number of levels of the topic, not on the number of subscriptions.

Invariants:
- Only well-formed filters are added (`broker.embedded.codec.is_filter`).
- `match` returns a copy, so that subscriptions may change while the caller iterates over it.
- A subscriber appears once for each topic, with the highest QoS of its matching filters.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(slots=True)
class _Node(Generic[S]):
    below: dict[str, "_Node[S]"] = field(default_factory=dict)
    here: dict[S, int] = field(default_factory=dict)


class SubscriptionTree(Generic[S]):
    """Subscribers by filter, each with a QoS."""

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()

    def add(self, filter_: str, subscriber: S, qos: int) -> None:
        """Add a subscription, or change its QoS."""
        node = self._root
        for level in filter_.split("/"):
            node = node.below.setdefault(level, _Node())
        node.here[subscriber] = qos

    def discard(self, filter_: str, subscriber: S) -> None:
        """Remove a subscription, if it exists, and the branches that it leaves empty."""
        path = [self._root]
        levels = filter_.split("/")
        for level in levels:
            below = path[-1].below.get(level)
            if below is None:
                return
            path.append(below)
        path[-1].here.pop(subscriber, None)
        for level, parent, node in zip(reversed(levels), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if node.here or node.below:
                return
            del parent.below[level]

    def match(self, topic: str) -> dict[S, int]:
        """Return the subscribers of a topic with their QoS."""
        found: dict[S, int] = {}
        _collect(self._root, topic.split("/"), 0, found)
        return found


def _collect(node: _Node[S], levels: Sequence[str], depth: int, found: dict[S, int]) -> None:
    if "#" in node.below:  # also matches the level above it [MQTT-4.7.1-2]
        _merge(node.below["#"].here, found)
    if depth == len(levels):
        _merge(node.here, found)
        return
    for level in (levels[depth], "+"):
        if level in node.below:
            _collect(node.below[level], levels, depth + 1, found)


def _merge(here: dict[S, int], found: dict[S, int]) -> None:
    for subscriber, qos in here.items():
        found[subscriber] = max(qos, found.get(subscriber, 0))
