"""Live readings in the browser: they come without a reload, and stand in place of the stored ones while they do."""

from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest
from brokers import PASSWORD, RunningBroker
from playwright.sync_api import Page, expect
from seeding import INFO, Fleet

from broker.client.mqtt import Mqtt
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.live import Live
from schemas.contract.messages import Vitals

TICKER = {"org": "lively", "machine": "ticker"}


class Ticker:
    """A machine that reports all the time, whether somebody looks or not."""

    def __init__(self, broker: RunningBroker) -> None:
        self.cpu_percent = 11.0
        self._stopping = Event()
        self._transport = Mqtt(broker.address, username="lively.ticker", password=PASSWORD)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._transport.receive(10, 0.2)
            vitals = Vitals(cpu_percent=self.cpu_percent, memory_percent=20.0, disk_percent=30.0)
            reading = Live(session=1, at=1, vitals=vitals)
            self._transport.publish(Message(topics.LIVE.at(**TICKER), reading.encode(), 0))
        self._transport.close()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)


@pytest.fixture
def ticker(broker: RunningBroker) -> Iterator[Ticker]:
    found = Ticker(broker)
    yield found
    found.stop()


def test_the_page_shows_each_reading_at_once_and_says_when_none_come_any_more(
    visit: Callable[..., Page], fleet: Fleet, ticker: Ticker
) -> None:
    fleet.machine("ticker", org="lively", info={**INFO, "live_interval_seconds": 1.0}, cpu_percent=77.0)
    page = visit("/machine?id=ticker", user="lara")
    live, stored = page.locator(".df-live-now"), page.locator(".st-key-machine_gauges")
    expect(live.get_by_text("Live, every second")).to_be_visible()
    expect(live.locator(".df-value", has_text="11 %")).to_be_visible()
    expect(stored).to_be_hidden()

    ticker.cpu_percent = 94.0
    expect(live.locator(".df-value", has_text="94 %")).to_be_visible()
    expect(live.locator(".df-line").first).to_be_visible()

    ticker.stop()
    expect(live.get_by_text("Not live: no reading has arrived for")).to_be_visible(timeout=30_000)
    expect(stored.get_by_text("77 %")).to_be_visible()
