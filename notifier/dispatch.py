"""From a delivery in the queue to a service: the message it becomes, and the call that sends it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from notifier.rendering.catalogue import texts
from notifier.rendering.message import alert_message, trial_message
from notifier.reports import report_file
from notifier.sending.outgoing import Outgoing
from notifier.storage.state_store import decode_items
from runtime.clock import Clock
from schemas.people import deliveries
from schemas.people.deliveries import Delivery
from schemas.people.destinations import Destination, open_url, webhook_secret
from schemas.people.message_templates import read_templates
from schemas.people.secret_box import SecretBox


class Dispatch:
    """Makes and sends messages. `allow_private`: the server's owner allows private addresses to all destinations.

    `data`: the state directory, from which reports are made.
    """

    def __init__(self, engine: Engine, box: SecretBox, clock: Clock, *, data: Path, allow_private: bool) -> None:
        self._engine = engine
        self._box = box
        self._clock = clock
        self._data = data
        self._allow_private = allow_private

    @contextmanager
    def message(self, delivery: Delivery, to: Destination) -> Iterator[Outgoing]:
        """Yield the message of a delivery. Raises SendingError."""
        now, preferences, content = self._clock.now(), to.preferences, delivery.content or {}
        reference = f"{to.org}-{delivery.id}"
        if delivery.kind == deliveries.TEST:
            yield trial_message(preferences, org=to.org, name=to.name, delivery=reference, now=now)
        elif delivery.kind == deliveries.REPORT:
            said = texts(preferences.language)
            title = str(said["report_title"]).format(org=to.org)
            period, until = str(content["period"]), int(content["until"])
            with report_file(self._data, to.org, period, language=preferences.language, until=until) as path:
                yield Outgoing(title, str(said["report_body"]), "info", reference, attachment=path)
        else:
            own = read_templates(self._engine, to.org)
            items = decode_items(content)
            yield alert_message(items, preferences, own, org=to.org, delivery=reference, now=delivery.created_at)

    def send(self, message: Outgoing, to: Destination) -> str:
        """Send a message and return the service's answer. Raises SendingError, UserError."""
        from notifier.sending.channel import send  # here: its libraries take 6 MiB, and most installations send nothing

        allow_private = self._allow_private or to.allow_private
        secret = webhook_secret(self._box, to)
        return send(open_url(self._box, to), message, allow_private=allow_private, secret=secret)
