"""A round of detail collectors in a thread of its own."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.collector import DetailCollector, Details, Item, name_of

log = logging.getLogger(__name__)


class Finished(NamedTuple):
    """The outcome of a collector in a round: None if it failed; `present` is False if there was nothing to read."""

    collector: DetailCollector
    details: Details | None
    present: bool


class DetailRound:
    """Calls collectors one after the other, until all are done or the round is abandoned.

    `finished` is shared with the thread that reads it; `current` and `since` say what runs, and since when.
    """

    def __init__(
        self, collectors: Sequence[DetailCollector], finished: deque[Finished], monotonic: Callable[[], float]
    ) -> None:
        self.current: DetailCollector | None = None
        self.since = 0.0
        self.done = False
        self._waiting = list(collectors)
        self._finished = finished
        self._monotonic = monotonic
        self._abandoned = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run the round; the function of its thread."""
        while (collector := self._next()) is not None:
            outcome = _outcome(collector)
            with self._lock:
                if not self._abandoned:  # a result that comes too late belongs to no sample
                    self._finished.append(outcome)
        self.current = None
        self.done = True

    def hand_over(self) -> list[DetailCollector]:
        """Return those that have not begun, for another round; the collector that runs ends this one."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting

    def abandon(self) -> list[DetailCollector]:
        """Ignore the collector that runs, and return those that have not begun."""
        with self._lock:
            self._abandoned = True
            return self._waiting

    def _next(self) -> DetailCollector | None:
        with self._lock:
            if self._abandoned or not self._waiting:
                return None
            self.since, self.current = self._monotonic(), self._waiting.pop(0)
            return self.current


def _outcome(collector: DetailCollector) -> Finished:
    try:
        if not collector.present():
            return Finished(collector, None, present=False)
        return Finished(collector, _copy(collector.collect()), present=True)
    except Exception:  # one of the named places: a plug-in may raise anything
        log.debug("collector %s failed", name_of(collector), exc_info=True)
        return Finished(collector, None, present=True)


def _copy(details: Details) -> Details:
    """Return a copy of the declared types, which raises here if a plug-in returned others."""
    series = {str(metric): {str(name): each for name, each in by.items()} for metric, by in details.series.items()}
    facts = {
        str(kind): {str(key): Item(dict(item.fields), item.health) for key, item in items.items()}
        for kind, items in details.facts.items()
    }
    return Details(series, facts, int(details.truncated))
