"""The last message of a machine that is uninstalled: it asks its server to retire it, and waits for that.

Invariants:
- The agent does not run meanwhile: two connections of one machine would end each other.
- Nothing is written, and nothing is waited for longer than CONNECT_SECONDS and CONFIRM_SECONDS.
- The broker keeps the message: a server that does not run now retires the machine when it runs again.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial

from pydantic import ValidationError

from agent.session_counter import SessionCounter
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, Transport, never_a_will
from runtime.clock import Clock
from runtime.errors import UserError
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.messages import Status

CONNECT_SECONDS = 30.0
CONFIRM_SECONDS = 30.0
_REPEAT_SECONDS = 5.0
_WAIT_SECONDS = 0.2

OpenTransport = Callable[[list[tuple[str, int]]], Transport]
"""Returns a transport of this machine with these subscriptions, not connected yet."""


class Retirement:
    """The retirement of one machine."""

    def __init__(self, settings: AgentSettings, open_transport: OpenTransport, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._topic = topics.STATUS.at(org=settings.org, machine=settings.machine)
        self._open_transport = open_transport
        sessions = SessionCounter(settings.data / "agent" / "session", clock)
        self._session = max(sessions.current + 1, clock.now())
        self._problem = "no answer"
        self._refused = False
        self._sent = False
        self._send_at = 0.0

    def run(self) -> bool:
        """Ask the server to retire this machine; return whether it has confirmed that. Raises UserError."""
        with closing(self._open_transport([(self._topic, topics.STATUS.qos)])) as transport:
            deadline = self._clock.monotonic() + CONNECT_SECONDS
            while self._clock.monotonic() < deadline:
                for event in transport.receive(10, _WAIT_SECONDS):
                    if self._is_confirmation(event):
                        return True
                if not self._sent and self._refused:
                    break
                if transport.connected and self._clock.monotonic() >= self._send_at:
                    deadline = deadline if self._sent else self._clock.monotonic() + CONFIRM_SECONDS
                    self._send(transport)
            if self._sent and transport.flush(_REPEAT_SECONDS):
                return False
        raise UserError(
            f"cannot retire this machine at {self._settings.server} ({self._problem}), so nothing was removed: without "
            "--retire the agent is removed all the same"
        )

    def _is_confirmation(self, event: Event) -> bool:
        """Follow an event; return True if the machine is retired: its messages were cleared, its secret is refused."""
        match event:
            case Connected():
                self._send_at = 0.0
            case Disconnected():
                self._problem, self._refused = event.reason, event.refused
                return self._sent and event.refused
            case Message() if event.topic == self._topic:
                if not event.payload:
                    return self._sent
                self._exceed(event.payload)
        return False

    def _exceed(self, payload: bytes) -> None:
        """Say goodbye again, with a higher session, if the server knows one that is higher than ours."""
        try:
            status = Status.decode(payload)
        except ValidationError:
            return
        if status.session > self._session:
            self._session, self._send_at = status.session + 1, 0.0

    def _send(self, transport: Transport) -> None:
        status = Status(
            state="offline",
            reason="stopped",
            session=self._session,
            at=self._clock.now(),
            interval_seconds=self._settings.interval_seconds,
            retiring=True,
        )
        message = Message(self._topic, status.encode(), topics.STATUS.qos, topics.STATUS.retain)
        self._sent = transport.publish(message) or self._sent
        self._send_at = self._clock.monotonic() + _REPEAT_SECONDS


def open_transport(settings: AgentSettings) -> OpenTransport:
    """Return the function that opens a connection with the machine's settings and secret. Raises SettingsError."""
    return partial(
        _opened,
        settings,
        Principal(Role.MACHINE, settings.org, settings.machine).username,
        settings.secret(),
    )


def _opened(settings: AgentSettings, username: str, password: str, subscriptions: list[tuple[str, int]]) -> Transport:
    return Mqtt(
        settings.address,
        username=username,
        password=password,
        subscriptions=subscriptions,
        will=never_a_will,
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
        backoff=Backoff(first_seconds=1.0, most_seconds=4.0),
    )
