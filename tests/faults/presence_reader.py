"""A reader of the derived presence, and how it differs from the database."""

import threading
from contextlib import suppress
from types import TracebackType

from faults.fleet import ORG, READER, SECRET, Fleet
from sqlalchemy.exc import DBAPIError
from waiting import wait_until

from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Message
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.presence import PresenceMessage

Shown = dict[str, tuple[str, str, bool]]
"""Presence, reason, and whether it is verified, by machine."""


class PresenceReader:
    """Follows `_presence/+` of a fleet in a thread, through every loss of the broker."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._shown: Shown = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="presence reader", daemon=True)

    def __enter__(self) -> "PresenceReader":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(20)

    def wait_until_as_stored(self, *, seconds: float = 30.0) -> None:
        """Wait until the topic says of each machine what the database says."""
        wait_until(self._is_as_stored, seconds=seconds, what=f"the presence {self._stored()} of {self._shown}")

    def _is_as_stored(self) -> bool:
        stored = self._stored()
        return bool(stored) and dict(self._shown) == stored

    def _stored(self) -> Shown:
        with suppress(DBAPIError):
            rows = self._fleet.look()
            return {name: (row["presence"], row["reason"], row["verified"]) for name, row in rows.items()}
        return {}

    def _follow(self) -> None:
        transport = Mqtt(
            ServerAddress.parse(f"mqtt://127.0.0.1:{self._fleet.port}"),
            username=READER.username,
            password=SECRET,
            subscriptions=[(topics.PRESENCE.filter(org=ORG), 1)],
            backoff=Backoff(first_seconds=0.05, most_seconds=0.2),
        )
        while not self._stopping.is_set():
            for event in transport.receive(100, 0.1):
                address = topics.parse(event.topic) if isinstance(event, Message) else None
                if isinstance(event, Message) and address is not None:
                    message = PresenceMessage.decode(event.payload)
                    self._shown = {
                        **self._shown,
                        address.machine: (message.presence, message.reason, message.verified),
                    }
        transport.close()
