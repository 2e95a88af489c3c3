"""Messages of the broker, as problems: alerts that are open, alerts and incidents that ended, and what is over unseen.

Invariants:
- A message that cannot be read is counted and ignored.
- An alert that is cleared is over only with its end (`_resolved`), which has the true time; without it, CLEARED_SECONDS
  later. An alert that no connection has shown for ABSENT_SECONDS, while an ingestor is running, is over as well: the
  notifier was away for longer than the broker retains ends.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from broker.client.transport import Message
from notifier.domain.problem import Problem
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.alerts import INCIDENT_SEVERITIES, AlertMessage, IncidentMessage, ResolvedMessage
from schemas.contract.topics import Address, Topic

CLEARED_SECONDS: Final = 30.0
ABSENT_SECONDS: Final = 600.0
_NAMED_MAX: Final = 5
"""Machines that the detail of an incident names."""

FOLLOWED: Final = (topics.ALERT, topics.RESOLVED, topics.INCIDENT)

log = logging.getLogger(__name__)

Slot = tuple[str, str, str]
"""Organisation, machine and rule, of which at most one alert is open."""


class Inbox:
    """Reads messages. `ingestor_runs`: whether alerts that are not shown can be taken for over."""

    def __init__(self, clock: Clock, ingestor_runs: Callable[[], bool]) -> None:
        self.unreadable = 0
        self._clock = clock
        self._ingestor_runs = ingestor_runs
        self._open: dict[Slot, Problem] = {}
        self._cleared: dict[Slot, tuple[Problem, float]] = {}
        self._shown: set[str] = set()
        self._connected_at: float | None = None

    @staticmethod
    def subscriptions() -> list[tuple[str, int]]:
        """Return the transport's subscriptions: all organisations."""
        return [(topic.filter(), topic.qos) for topic in FOLLOWED]

    def load(self, open_: Iterable[Problem]) -> None:
        """Set the problems that were open when the notifier ended."""
        self._open = {_slot(problem): problem for problem in open_ if not problem.is_incident}

    def connected(self) -> None:
        """Record a connection: the broker will show what is open."""
        self._connected_at = self._clock.monotonic()
        self._shown.clear()

    def disconnected(self) -> None:
        """Record the end of a connection."""
        self._connected_at = None

    def read(self, message: Message) -> Problem | None:
        """Return the problem that a message is about; None if it says nothing now."""
        address = topics.parse(message.topic)
        if address is None or address.topic not in FOLLOWED:
            return None
        if not message.payload:
            if address.topic is topics.ALERT:
                self._clear((address.org, address.machine, address.rule))
            return None
        try:
            return _READERS[address.topic](self, address, message.payload)
        except ValidationError:
            self.unreadable += 1
            log.warning("a message on %s cannot be read", message.topic)
            return None

    def over(self, open_: Callable[[], Iterable[Problem]]) -> list[Problem]:
        """Return problems that are over although no message said when. `open_`: the problems that last."""
        monotonic, now = self._clock.monotonic(), self._clock.now()
        found = []
        for slot, (problem, at) in list(self._cleared.items()):
            if monotonic - at >= CLEARED_SECONDS:
                del self._cleared[slot]
                found.append(replace(problem, until=now))
        if self._connected_at is None or monotonic - self._connected_at < ABSENT_SECONDS or not self._ingestor_runs():
            return found
        self._connected_at = float("inf")  # once per connection
        return [*found, *(replace(each, until=now) for each in open_() if _identity(each) not in self._shown)]

    def _clear(self, slot: Slot) -> None:
        problem = self._open.pop(slot, None)
        if problem is not None:
            self._cleared[slot] = (problem, self._clock.monotonic())

    def _alert(self, address: Address, payload: bytes) -> Problem:
        problem = _of_alert(address, AlertMessage.decode(payload))
        self._open[_slot(problem)] = problem
        self._shown.add(_identity(problem))
        self._forget_cleared(problem)
        return problem

    def _resolved(self, address: Address, payload: bytes) -> Problem:
        message = ResolvedMessage.decode(payload)
        problem = replace(
            _of_alert(address, message), until=message.until, past=message.past, withdrawn=message.withdrawn
        )
        self._shown.add(_identity(problem))
        self._forget_cleared(problem)
        return problem

    def _incident(self, address: Address, payload: bytes) -> Problem:
        message = IncidentMessage.decode(payload)
        problem = Problem(
            org=address.org,
            key=f"incident/{message.id}",
            rule=message.kind,
            severity=INCIDENT_SEVERITIES.get(message.kind, "warning"),
            since=message.since,
            until=message.until,
            detail=f"{message.target} ({', '.join(message.machines[:_NAMED_MAX])})" if message.target else "",
            machines=message.machines,
            machine_count=message.machine_count,
            label=message.label,
        )
        self._shown.add(_identity(problem))
        return problem

    def _forget_cleared(self, problem: Problem) -> None:
        waiting = self._cleared.get(_slot(problem))
        if waiting is not None and waiting[0].key == problem.key:
            del self._cleared[_slot(problem)]


_READERS: Final[dict[Topic, Callable[[Inbox, Address, bytes], Problem]]] = {
    topics.ALERT: Inbox._alert,  # noqa: SLF001 - of this class
    topics.RESOLVED: Inbox._resolved,  # noqa: SLF001 - of this class
    topics.INCIDENT: Inbox._incident,  # noqa: SLF001 - of this class
}


def _of_alert(address: Address, message: AlertMessage) -> Problem:
    acknowledged = message.acknowledged
    key = f"alert/{message.id}" if message.id is not None else f"{address.machine}/{address.rule}/{message.since}"
    return Problem(
        org=address.org,
        key=key,
        rule=message.rule,
        severity=message.severity,
        since=message.since,
        machine=address.machine,
        title=message.title,
        detail=message.detail,
        hostname=message.hostname or "",
        labels=dict(message.labels),
        value=message.value,
        unit=message.unit or "",
        acknowledged_by="" if acknowledged is None else acknowledged.by,
        acknowledged_at=None if acknowledged is None else acknowledged.at,
        silenced_until=message.silenced_until,
    )


def _slot(problem: Problem) -> Slot:
    return problem.org, problem.machine, problem.rule


def _identity(problem: Problem) -> str:
    return f"{problem.org}/{problem.key}"
