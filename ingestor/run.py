"""The ingestor's process, for `dashfleet ingestor`."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from broker.client.kept_alive import KeptAlive
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Transport
from ingestor.admin.schema_upgrade import upgrade_after_backup
from ingestor.files.file_rates import FileRates
from ingestor.files.file_server import FileServer
from ingestor.files.file_store import BundleStore
from ingestor.files.machine_files import MachineFiles
from ingestor.files.server_files import server_files
from ingestor.files.upload_receiver import UploadReceiver
from ingestor.ingestor import Ingestor
from ingestor.intake.rate_limits import Rate, RateLimits
from ingestor.metrics import serving
from ingestor.storage.store import Store
from runtime.clock import Clock, SystemClock
from runtime.process import StopSignal, notify_ready, release_memory
from runtime.settings.ingestor import IngestorSettings
from runtime.state_directory import StateDirectory
from schemas.database.engine import open_engine, shown_url
from schemas.database.queries.commands import is_pulling

PRINCIPAL = Principal(Role.INGESTOR, "", "ingestor")
"""The principal of the first ingestor."""

RECONNECT_SECONDS = 5.0
"""Bound of the backoff; short, since the whole fleet is unverified until the ingestor is connected."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""For `gc.set_threshold`: with the defaults, Python's collector would traverse the whole fleet in memory all the time,
while batches leave hardly any cycles."""

UPLOAD_SHARE = 0.5
"""Share of the bytes that a machine may publish which a pulled file takes, so that its samples pass beside it."""


def run(settings: IngestorSettings) -> None:
    """Migrate the database to this version, and run until a signal. Raises SettingsError or DatabaseError."""
    password = settings.secret()
    engine = open_engine(settings.database.get_secret_value())
    stop, clock = StopSignal(), SystemClock()
    upgrade_after_backup(engine, settings.data, clock, backup=settings.backup_before_upgrade)
    gc.set_threshold(*GARBAGE_THRESHOLDS)

    ingestor = Ingestor(
        store=Store(
            engine,
            name=settings.name,
            dead_letter_max=settings.dead_letter_max,
            transitions_max=settings.machine_transitions_per_hour,
        ),
        open_transport=partial(_open_transport, settings, password),
        batch_max=settings.batch_max,
        ack_seconds=settings.ack_seconds,
        clock=clock,
        limits=_limits(settings, clock),
        files=_files(settings, engine, clock),
    )
    with serving(settings.metrics_address, ingestor.metrics, clock):
        release_memory()
        notify_ready(f"ingestor into {shown_url(engine)}")
        while not stop.received:
            ingestor.step()
        ingestor.stop()
    engine.dispose()


def _open_transport(
    settings: IngestorSettings, password: str, *, subscriptions: Sequence[tuple[str, int]]
) -> Transport:
    transport = Mqtt(
        settings.address,
        username=replace(PRINCIPAL, name=settings.name).username,
        password=password,
        subscriptions=subscriptions,
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
        backoff=Backoff(most_seconds=RECONNECT_SECONDS),
    )
    return KeptAlive(transport, keep_alive_seconds=settings.keep_alive_seconds)


def _files(settings: IngestorSettings, engine: Engine, clock: Clock) -> MachineFiles:
    bundle, stored = BundleStore(settings.bundle or StateDirectory(settings.data).bundle), server_files(settings)
    machine, org, total = (getattr(settings, f"{whose}file_bytes_per_second") for whose in ("machine_", "org_", ""))
    most = settings.machine_bytes_per_minute / 60 * UPLOAD_SHARE
    return MachineFiles(
        FileServer([bundle.find, stored.find], FileRates(clock, machine, org, total)),
        UploadReceiver(stored, partial(is_pulling, engine), FileRates(clock, min(machine, most), org, total)),
    )


def _limits(settings: IngestorSettings, clock: Clock) -> RateLimits:
    kinds = ("messages", "bytes", "samples")
    machine, org = (
        Rate(*(getattr(settings, f"{whose}_{kind}_per_minute") for kind in kinds)) for whose in ("machine", "org")
    )
    return RateLimits(clock, machine, org)
