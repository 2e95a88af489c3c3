"""Subscribing: SUBSCRIBE, its answers, and the retries that some brokers need.

Invariants:
- An answer counts only for the SUBSCRIBE sent last; subscriptions may change while one is on its way.
- A subscription that is rejected at QoS 1 is requested at QoS 0: a cluster that has lost a node may grant only that.
- A rejected subscription is requested again every RETRY_SECONDS: a cluster rejects what it could grant while it
  elects a leader.
"""

from collections.abc import Callable, Sequence

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

RETRY_SECONDS = 5.0

Subscriptions = Sequence[tuple[str, int]]
"""Topic filters with their QoS."""


class Subscriber:
    """The subscriptions of one client, kept over its connections."""

    def __init__(self, wanted: Subscriptions, monotonic: Callable[[], float]) -> None:
        self.wanted = list(wanted)
        self._monotonic = monotonic
        self._requested: list[tuple[str, int]] = []
        self._outstanding: list[tuple[str, int]] = []
        self._packet_id: int | None = None
        self._lowered: frozenset[str] = frozenset()
        """Filters that were rejected at QoS 1."""
        self._retry_at: float | None = None

    @property
    def is_current(self) -> bool:
        """Whether the wanted subscriptions are those requested last."""
        return self._requested is self.wanted

    @property
    def is_due(self) -> bool:
        """Whether rejected subscriptions are to be requested again."""
        return self._retry_at is not None and self._monotonic() >= self._retry_at

    def replace(self, wanted: Subscriptions) -> list[str]:
        """Want other subscriptions; return the filters that are no longer wanted."""
        kept = {filter_ for filter_, _ in wanted}
        removed = [filter_ for filter_, _ in self.wanted if filter_ not in kept]
        self.wanted = list(wanted)
        return removed

    def request(self, client: paho.Client) -> bool:
        """Send SUBSCRIBE; return False when there are no subscriptions."""
        self._requested, self._retry_at, self._lowered = self.wanted, None, frozenset()
        return self._send(client, self.wanted)

    def reread(self, client: paho.Client, some: Subscriptions) -> None:
        """Subscribe to these filters for their retained messages; unsubscribe from those that are not wanted."""
        if not some:
            return
        client.subscribe([(filter_, 0 if filter_ in self._lowered else qos) for filter_, qos in some])
        wanted = {filter_ for filter_, _ in self.wanted}
        if added := [filter_ for filter_, _ in some if filter_ not in wanted]:
            client.unsubscribe(added)

    def handle_suback(self, client: paho.Client, packet_id: int, reasons: list[ReasonCode]) -> tuple[str, ...] | None:
        """Return the rejected filters, or None while an answer is outstanding."""
        if packet_id != self._packet_id:
            return None
        rejected = [wanted for wanted, reason in zip(self._outstanding, reasons, strict=False) if reason.is_failure]
        if any(qos for _, qos in rejected):
            self._lowered = frozenset(filter_ for filter_, _ in rejected)
            self._send(client, [(filter_, 0) for filter_, _ in rejected])
            return None
        self._retry_at = self._monotonic() + RETRY_SECONDS if rejected else None
        return tuple(filter_ for filter_, _ in rejected)

    def _send(self, client: paho.Client, wanted: Subscriptions) -> bool:
        self._outstanding = list(wanted)
        _, self._packet_id = client.subscribe(self._outstanding) if wanted else (None, None)
        return bool(wanted)
