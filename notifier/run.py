"""The notifier's process, for `dashfleet notifier`."""

from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from broker.access.policy import NOTIFIER
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff
from notifier.dispatch import Dispatch
from notifier.inbox import Inbox
from notifier.notifier import Notifier
from notifier.sending.workers import Workers
from runtime.clock import Clock, SystemClock
from runtime.process import StopSignal, notify_ready, release_memory
from runtime.settings.notifier import NotifierSettings
from schemas.database.engine import open_engine
from schemas.database.queries.heartbeat import find_trouble
from schemas.people.people_store import open_people_store
from schemas.people.secret_box import SecretBox

if TYPE_CHECKING:
    from notifier.heartbeat import HeartbeatCaller

WAIT_SECONDS: Final = 0.5
RECONNECT_SECONDS: Final = 5.0
STALLED_SECONDS: Final = 15.0
"""Time without a step after which the notifier does not count as healthy."""


def run(settings: NotifierSettings) -> None:
    """Run until a signal. Raises SettingsError, DatabaseError, or UserError if the broker rejects the credential."""
    password = settings.secret()
    fleet = open_engine(settings.database.get_secret_value(), read_only=True)
    people = open_people_store(settings.auth_database.get_secret_value())
    box = SecretBox.load(settings.key_file)
    stop, clock = StopSignal(), SystemClock()
    transport = Mqtt(
        settings.address,
        username=NOTIFIER.username,
        password=password,
        subscriptions=Inbox.subscriptions(),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
        backoff=Backoff(most_seconds=RECONNECT_SECONDS),
    )
    dispatch = Dispatch(people, box, clock, data=settings.data, allow_private=settings.allow_private)
    workers = Workers(people, dispatch, clock)
    notifier = Notifier(people, transport, workers, clock, ingestor_runs=lambda: not ingestor_trouble(fleet, clock))
    heartbeat = _heartbeat(settings, notifier, fleet, clock)
    release_memory()
    notify_ready("notifier")
    try:
        while not stop.received:
            notifier.step(WAIT_SECONDS)
    finally:
        if heartbeat is not None:
            heartbeat.stop()
        notifier.stop()
    fleet.dispose()
    people.dispose()


def ingestor_trouble(fleet: Engine, clock: Clock) -> str:
    """Return why ingestor or database do not work; empty if they do."""
    try:
        return find_trouble(fleet, now=clock.now())
    except SQLAlchemyError:
        return "the fleet database is unavailable"


def _heartbeat(settings: NotifierSettings, notifier: Notifier, fleet: Engine, clock: Clock) -> "HeartbeatCaller | None":
    """Start the outgoing heartbeat, if there is a URL."""
    url = settings.heartbeat_url.get_secret_value()
    if not url:
        return None
    from notifier.heartbeat import HeartbeatCaller  # here: what calls takes 6 MiB

    def trouble() -> str:
        if not notifier.connected:
            return "the notifier is not connected to the broker"
        if clock.monotonic() - notifier.stepped_at > STALLED_SECONDS:
            return "the notifier cannot use the database of users"
        return ingestor_trouble(fleet, clock)

    caller = HeartbeatCaller(url, seconds=settings.heartbeat_seconds, healthy=trouble)
    caller.start()
    return caller
