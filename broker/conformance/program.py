"""A program under a run that is its broker: how it is started and ended, what it prints, and what it does.

Invariant: a line is compared word by word, so that a program may add to it whatever it likes.
"""

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

from broker.conformance.assertions import Assertion
from broker.conformance.packets import ACCEPTED
from broker.conformance.program_broker import (
    MQTT_3_1_1,
    ClientConnected,
    ClientEvent,
    ClientLeft,
    ProgramBroker,
)
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock

PUMP_SECONDS = 0.1
_WORDS = re.compile(r"[^a-z0-9_-]+")

E = TypeVar("E", bound=ClientEvent)


class PrintingProgram(Protocol):
    """Starts and ends a program, and reads what it prints."""

    def start(self) -> None:
        """Start it; what it has printed before is forgotten."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def lines(self) -> list[str]:
        """Return the lines that it has printed."""
        ...

    def status(self) -> int | None:
        """Return its exit status; None while it runs."""
        ...


class ProgramWatch:
    """Waits for what a program does. `pump`: lets its broker work for up to some seconds."""

    def __init__(
        self, broker: ProgramBroker, program: PrintingProgram, clock: Clock, pump: Callable[[float], None]
    ) -> None:
        self.broker = broker
        self.program = program
        self._clock = clock
        self._pump = pump

    def wait_for(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait until a condition holds; return False when the time has passed."""
        deadline = self._clock.monotonic() + seconds
        while not condition():
            if self._clock.monotonic() >= deadline:
                return False
            self._pump(PUMP_SECONDS)
        return True

    def listen(self, seconds: float) -> None:
        """Let the program work for a time."""
        self.wait_for(lambda: False, seconds)

    def events(self, kind: type[E], since: int = 0) -> list[E]:
        """Return the events of a kind, from a place in the log on."""
        return [event for event in self.broker.log[since:] if isinstance(event, kind)]

    def connects(self, since: int = 0) -> list[ClientConnected]:
        """Return the accepted connections, from a place in the log on."""
        return [event for event in self.events(ClientConnected, since) if event.code == ACCEPTED]

    def shows(self, *words: str, since: int = 0) -> bool:
        """Return whether a line has all of these words, from a number of lines on."""
        return any(set(words) <= set(_WORDS.split(line.lower())) for line in self.program.lines()[since:])


def judge_identity(report: ConformanceReport, broker: ProgramBroker, identity: Assertion, clean: Assertion) -> None:
    """Judge the CONNECT packets of a program."""
    for event in (event for event in broker.log if isinstance(event, ClientConnected)):
        connect = event.connect
        detail = f"protocol level {connect.version}, client id {connect.client_id!r}"
        is_own = connect.version == MQTT_3_1_1 and broker.principal.may_be_called(connect.client_id)
        report.check(identity, is_own, f"{detail}; expected level {MQTT_3_1_1}, {broker.principal.username!r}")
        if connect.version == MQTT_3_1_1:
            report.check(clean, connect.clean, "a CONNECT without the clean flag")


def shortest_wait(broker: ProgramBroker) -> float | None:
    """Return the shortest time between the end of a connection, or a refusal, and the next CONNECT; None without."""
    waits, ended = [], None
    for event in broker.log:
        if isinstance(event, ClientLeft):
            ended = event.at
        elif isinstance(event, ClientConnected):
            if ended is not None:
                waits.append(event.at - ended)
            ended = None if event.code == ACCEPTED else event.at
    return min(waits, default=None)
