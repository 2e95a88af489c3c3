"""Workers: an organisation whose destinations hang leaves room for the others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

from notifier.sending import workers
from notifier.sending.outgoing import Outgoing
from notifier.sending.workers import Workers
from runtime.clock import SystemClock
from runtime.urls import sqlite_url
from schemas.people import deliveries
from schemas.people.deliveries import Delivery
from schemas.people.destinations import Destination, add_destination
from schemas.people.people_store import open_people_store
from schemas.people.secret_box import SecretBox


class HangingFor:
    """A sender whose calls hang for the destinations of one organisation, until they are released."""

    def __init__(self, org: str) -> None:
        self.released = threading.Event()
        self.reached: list[str] = []
        self._org = org

    @contextmanager
    def message(self, delivery: Delivery, to: Destination) -> Iterator[Outgoing]:
        yield Outgoing("Title", to.org, "info", str(delivery.id))

    def send(self, message: Outgoing, to: Destination) -> str:
        self.reached.append(message.body)
        if to.org == self._org:
            self.released.wait(10)
        return "accepted"


def test_an_organisation_whose_destinations_hang_takes_only_its_share_of_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "WORKERS_MAX", 6)
    monkeypatch.setattr(workers, "ORG_WORKERS_MAX", 4)
    engine, clock = open_people_store(sqlite_url(tmp_path / "people.db")), SystemClock()
    box = SecretBox.load(tmp_path / "key")
    org_of: dict[int, str] = {}
    for org, count in (("acme", 8), ("home", 2)):
        for number in range(count):
            to = add_destination(engine, box, org, f"hook{number}", "https://example.org/", by="ada", now=0)
            org_of[to.id] = org
            with engine.begin() as connection:
                deliveries.queue(connection, to, deliveries.ALERTS, items=0, content={}, now=0)
    sender = HangingFor("acme")
    sending = Workers(engine, sender, clock)
    sending.load(org_of)
    sending.start_due()
    wait_until(lambda: sender.reached.count("home") == 2)
    assert sender.reached.count("acme") <= 4
    sender.released.set()

    def everything_is_sent() -> bool:
        sending.load(org_of)
        sending.start_due()
        return all(each.state == "sent" for each in deliveries.list_deliveries(engine, None))

    wait_until(everything_is_sent)
    sending.stop()
    engine.dispose()
