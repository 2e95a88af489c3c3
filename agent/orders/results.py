"""Results of orders: how they are made, and how final ones are repeated until the ingestor acknowledges them."""

import re

from agent.action import Outcome
from agent.orders.journal import Journal
from runtime.clock import Clock
from schemas.contract.commands import OUTPUT_MAX, Order, Result

REPEAT_SECONDS = 10.0
REPEAT_MOST_SECONDS = 60.0
REPEATED_AT_ONCE = 10
"""A bound, as results are large with their output."""

DETAIL_MAX = 1000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def result_of(
    id_: str, state: str, at: int, reason: str = "", detail: str = "", *, action: str | None = None
) -> Result:
    """Return the result of the order with this id; its session is left to the publisher.

    `action`: that of the order, if it is authentic.
    """
    return Result.model_validate(
        {
            "session": 1,
            "id": id_,
            "action": action,
            "state": state,
            "at": at,
            "reason": reason[:32],
            "detail": _printable(detail)[0][:DETAIL_MAX],
        }
    )


def final_result(order: Order, at: int, outcome: Outcome) -> Result:
    """Return the result of an order that has ended."""
    output, cut = (None, False) if outcome.output is None else _printable(outcome.output)
    more = {"exit_code": outcome.exit_code, "output": output, "output_truncated": cut or outcome.output_truncated}
    result = result_of(order.id, outcome.state, at, outcome.reason, outcome.detail, action=order.action)
    return result.model_copy(update=more)


class ResultRepeater:
    """Repeats unacknowledged final results with backoff while the broker is connected."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.due_at = clock.monotonic()
        self._journal = journal
        self._clock = clock
        self._wait_seconds = REPEAT_SECONDS
        self._last_id = ""

    def acked(self, ids: tuple[str, ...]) -> None:
        """Record that the ingestor has these results, and repeat the others sooner."""
        if ids:
            self._journal.acked(ids)
            self._wait_seconds = REPEAT_SECONDS
            self.due_at = min(self.due_at, self._clock.monotonic() + REPEAT_SECONDS)

    def connected(self) -> list[Result]:
        """Start again from the first unacknowledged result; return the first ones."""
        self._wait_seconds, self._last_id = REPEAT_SECONDS, ""
        return self._next()

    def due(self, *, connected: bool) -> list[Result]:
        """Return the results to repeat now."""
        if not connected:
            self.due_at = float("inf")  # the next connection begins with them
        return self._next() if self._clock.monotonic() >= self.due_at else []

    def _next(self) -> list[Result]:
        entries = self._journal.unacked(REPEATED_AT_ONCE, after=self._last_id)
        self._last_id = entries[-1].result.id if len(entries) == REPEATED_AT_ONCE else ""
        self.due_at = self._clock.monotonic() + self._wait_seconds
        self._wait_seconds = min(REPEAT_MOST_SECONDS, 2 * self._wait_seconds)
        return [entry.result for entry in entries]


def _printable(text: str) -> tuple[str, bool]:
    """Replace control characters, each of which JSON encodes as six; return the text, and True if it was truncated."""
    encoded = _CONTROL.sub("\ufffd", text).encode("utf-8", "replace")
    return encoded[:OUTPUT_MAX].decode("utf-8", "ignore"), len(encoded) > OUTPUT_MAX
