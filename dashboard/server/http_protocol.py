"""HTTP/1.1 of the dashboard: uvicorn's protocol, with a time limit for a request to arrive.

Invariants:
- Headers and body of a request arrive within REQUEST_SECONDS of its first byte, the first request of a connection
  within that time of the connection; otherwise the connection is closed, with 408 if nothing was answered yet.
- A request that is broken off costs no traceback.
- Responses and WebSockets have no limit here; streams of events end when the server stops, which waits for all others,
  and when their client has read nothing for UNREAD_SECONDS while more waits for it than its connection holds.
"""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dashboard.auth.middleware import API_EVENTS

REQUEST_SECONDS: Final = 20.0
"""Slow clients finish a form in this time; the forms have a shorter limit of their own (`dashboard.auth.forms`)."""

UNREAD_SECONDS: Final = 30.0

_TIMED_OUT: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_ARRIVING: Final = (h11.IDLE, h11.SEND_BODY)


class TimedHttpProtocol(H11Protocol):
    """A connection of a browser or a proxy."""

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - only passed on
        super().__init__(*given, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._reading_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request."""
        super().connection_made(transport)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        """Handle data, and start the time limit of a request that has begun, or end that of one that is complete."""
        super().data_received(data)
        self._set_deadline()

    def shutdown(self) -> None:
        """Let the request end that is being answered; but a stream of events never ends by itself."""
        super().shutdown()
        if self._streams_events:
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the time limit for the client of a stream of events to read: it would keep its place for ever."""
        super().pause_writing()
        if self._streams_events and self._reading_deadline is None:
            self._reading_deadline = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """End the time limit: the client reads."""
        super().resume_writing()
        self._clear_reading_deadline()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, without a time limit."""
        self._clear_deadline()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the time limits with the connection."""
        self._clear_deadline()
        self._clear_reading_deadline()
        super().connection_lost(exc)

    @property
    def _streams_events(self) -> bool:
        return self.cycle is not None and str(self.cycle.scope["path"]).endswith(API_EVENTS)

    def _clear_reading_deadline(self) -> None:
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
            self._reading_deadline = None

    def _set_deadline(self) -> None:
        if self.conn.their_state not in _ARRIVING or self.transport.get_protocol() is not self:
            self._clear_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._expired)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_TIMED_OUT)
        self.transport.close()
