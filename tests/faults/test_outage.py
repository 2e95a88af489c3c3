"""Long outages: the bounds of the outbox, the way back, and what waiting costs the disk."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from faults.disks import fill, free, image, small_disk
from faults.fleet import running_fleet
from faults.oracle import assert_clean, say
from faults.probe.collectors.probe import JOURNAL, Probe
from faults.probe.device_collectors.devices import ProbeDevices
from faults.scale import SCALE, brokers
from faults.series_oracle import judge_series
from outboxes import count_waiting
from sqlalchemy import Engine, func, select

from agent.agent import Agent
from agent.collection.detail_runner import DetailRunner
from agent.collection.facts_publisher import FactsPublisher
from agent.collection.sample_runner import CollectorRunner
from agent.inventory import boot_id
from agent.outbox.outbox import Outbox
from agent.session_counter import SessionCounter
from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Backoff, WillMaker
from ingestor.admin.access import add_org, add_principal
from ingestor.ingestor import Ingestor
from ingestor.storage.store import Store
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Vitals
from schemas.database import tables
from schemas.database.queries.machines import list_machines

MEBIBYTE = 1 << 20
DAY = 86_400.0
INTERVAL = 10.0
WRITTEN_A_DAY = 30_000_000
ORG, MACHINE = "acme", "attic"


class Simulation:
    """An agent and an ingestor with real stores, and a broker and a clock in memory."""

    def __init__(self, directory: Path, engine: Engine, clock: Clock, *, max_bytes: int) -> None:
        add_org(engine, ORG, now=clock.now)
        add_principal(engine, Principal(Role.MACHINE, ORG, MACHINE), "made-up", now=clock.now)
        self.engine, self.clock = engine, clock
        self.files = directory / "agent"
        self.files.mkdir(exist_ok=True)
        self.broker = MemoryBroker()
        settings = AgentSettings(data=directory, org=ORG, machine=MACHINE, interval_seconds=INTERVAL)
        self.devices = devices = ProbeDevices(settings)
        self.outbox = Outbox(
            self.files / "outbox.db", directory / "hot.db", max_bytes=max_bytes, boot=boot_id(), clock=clock
        )

        def open_transport(
            *, subscriptions: list[tuple[str, int]], will: WillMaker, backoff: Backoff
        ) -> MemoryTransport:
            del backoff  # a broker in memory is connected to at once
            return MemoryTransport(
                self.broker, client_id=MACHINE, subscriptions=subscriptions, will=will, pass_time=clock.advance
            )

        self.agent = Agent(
            settings,
            open_transport=open_transport,
            outbox=self.outbox,
            runner=CollectorRunner([Probe(settings)], timeout_seconds=10.0),
            sessions=SessionCounter(self.files / "session", clock),
            clock=clock,
            details=DetailRunner(
                [devices], settings, clock, FactsPublisher(self.files / "facts.json", clock), start=lambda work: work()
            ),
        )
        self.ingestor = Ingestor(
            store=Store(engine, name="ingestor", dead_letter_max=100),
            open_transport=lambda *, subscriptions: MemoryTransport(
                self.broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=lambda _: None
            ),
            batch_max=2000,
            ack_seconds=2.0,
            clock=clock,
        )

    @property
    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.files.iterdir())

    def be_offline(self, seconds: float) -> int:
        """Pass so much time without a broker; the most that the outbox took on disk."""
        self.broker.stop()
        most, end = 0, self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for _ in range(200):
                self.agent.step()
            most = max(most, self.bytes_on_disk)
        return most

    def drain(self) -> float:
        """Pass time with a broker until nothing waits but the newest; how many seconds it took."""
        self.broker.start()
        begun = self.clock.monotonic()
        while count_waiting(self.outbox) > 1:
            self.agent.step()
            self.ingestor.step()
            assert self.clock.monotonic() < begun + DAY, f"{count_waiting(self.outbox)} still wait after a day"
        return self.clock.monotonic() - begun

    def finish(self) -> dict[str, int]:
        """Stop the agent, store the last samples; the ledger."""
        self.agent.stop()
        for _ in range(5):
            self.ingestor.step()
        (machine,) = list_machines(self.engine)
        ledger: dict[str, int] = machine["ledger"]
        return ledger

    def series(self, *, dropped: bool = False) -> dict[str, int]:
        """What became of the readings of devices."""
        return judge_series(self.engine, self.devices.issued, MACHINE, dropped=dropped)

    def oldest_live_age(self) -> float:
        """The longest that a live sample took to arrive, in seconds: those measured since the broker is back."""
        table = tables.sample
        with self.engine.connect() as connection:
            first = connection.scalar(select(func.min(table.c.sampled_at + table.c.delay_milliseconds)))
            query = select(func.max(table.c.delay_milliseconds)).where(table.c.sampled_at > first)
            return float(connection.scalar(query) or 0) / 1000


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOURNAL, str(tmp_path / "prefilled.journal"))


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("journal")
def test_days_offline_stay_within_the_bound_and_nothing_is_lost(tmp_path: Path, database: Engine, clock: Clock) -> None:
    run = Simulation(tmp_path, database, clock, max_bytes=64 * MEBIBYTE)
    most = run.be_offline(SCALE.days_offline * DAY)
    waited = count_waiting(run.outbox)
    seconds = run.drain()
    ledger = run.finish()
    age = run.oldest_live_age()
    series = run.series()
    rate = waited / seconds * INTERVAL
    say(
        f"{SCALE.days_offline:g} days offline: {waited} samples, {most / MEBIBYTE:.1f} MiB at most, drained in "
        f"{seconds:.0f} s of the simulation = {rate:.0f} x live; live samples at most {age:.1f} s old; {ledger}; "
        f"series {series}"
    )
    assert series["missing"] == series["spurious"] == series["corrupted"] == 0
    assert series["stored"] >= SCALE.days_offline * DAY / 60
    assert most <= 64 * MEBIBYTE
    assert ledger["lost"] == ledger["dropped"] == ledger["waiting"] == 0
    assert ledger["stored"] == ledger["expected"] >= SCALE.days_offline * DAY / INTERVAL
    assert rate >= 20
    assert age <= 5.0


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("journal")
def test_past_its_bound_the_outbox_drops_the_oldest_and_the_ledger_counts_them_exactly(
    tmp_path: Path, database: Engine, clock: Clock
) -> None:
    run = Simulation(tmp_path, database, clock, max_bytes=MEBIBYTE)
    most = run.be_offline(max(1.0, SCALE.days_offline) * DAY / 2)
    run.drain()
    ledger = run.finish()
    series = run.series(dropped=True)
    say(f"a bound of 1 MiB: {most / MEBIBYTE:.2f} MiB at most; {ledger}; series {series}")
    assert series["missing"] == series["spurious"] == series["corrupted"] == 0
    assert 0 < series["stored"] < len(run.devices.issued)
    assert most <= MEBIBYTE
    assert ledger["dropped"] > 0
    assert ledger["lost"] == ledger["waiting"] == 0
    assert ledger["stored"] + ledger["dropped"] == ledger["expected"]
    with database.connect() as connection:
        count, first, last = connection.execute(
            select(func.count(), func.min(tables.sample.c.seq), func.max(tables.sample.c.seq))
        ).one()
    assert (count, first, last) == (ledger["stored"], ledger["dropped"] + 1, ledger["expected"])


@pytest.mark.usefixtures("journal")
def test_on_a_full_disk_what_finds_no_room_in_memory_is_dropped_and_counted(
    tmp_path: Path, database: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.outbox.outbox.HOT_MAX_BYTES", 128 << 10)
    with small_disk(tmp_path / "agent") as disk:
        fill(disk)
        run = Simulation(tmp_path, database, clock, max_bytes=MEBIBYTE)
        run.be_offline(DAY / 10)
        free(disk)
        run.drain()
        ledger = run.finish()
    say(f"disk full and 128 KiB of memory: {ledger}")
    assert ledger["dropped"] > 0
    assert ledger["lost"] == ledger["waiting"] == 0
    assert ledger["stored"] + ledger["dropped"] == ledger["expected"] >= DAY / 10 / INTERVAL


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", brokers("embedded"))
def test_a_day_of_backlog_drains_fast_while_live_samples_stay_fresh(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet:
        machine = fleet.add_machine(MACHINE, interval_seconds=1.0)
        monkeypatch.setenv(JOURNAL, str(machine.journal))
        prefill(machine.settings, machine.cold, machine.hot, SCALE.backlog)
        fleet.start_server()
        machine.process.start()
        started = time.monotonic()
        fleet.settle(seconds=300)
        took = time.monotonic() - started
        table = tables.sample
        query = select(func.max(table.c.delay_milliseconds)).where(table.c.seq > SCALE.backlog + 3)
        fleet.flows(more=3)
        with fleet.engine.connect() as connection:
            age = float(connection.scalar(query) or 0) / 1000
        rate = SCALE.backlog / took * INTERVAL
        say(
            f"a day of backlog on {broker}: {SCALE.backlog} samples in {took:.1f} s = {rate:.0f} x the live rate of "
            f"one in {INTERVAL:.0f} s; live samples at most {age:.2f} s old"
        )
        assert rate >= 20
        assert age <= 5.0
        assert_clean(fleet, what=f"backlog, {broker}")


@pytest.mark.timeout(1800)
def test_a_connected_agent_hardly_writes_to_the_disk(tmp_path: Path) -> None:
    with image(tmp_path) as disk, running_fleet(tmp_path, broker="mosquitto") as fleet:
        defaults: dict[str, Any] = {"environment": {"PROBE_SPILL_SECONDS": "20"}, "keep_alive_seconds": 30}
        machine = fleet.add_machine(
            MACHINE, data=disk.mount / MACHINE, interval_seconds=SCALE.written_interval, **defaults
        )
        fleet.start()
        fleet.flows(more=3)
        disk.sync()
        before, samples = disk.written_bytes, machine.issued
        time.sleep(SCALE.written)
        disk.sync()
        written, samples = disk.written_bytes - before, machine.issued - samples
        per_day = written / samples * DAY / INTERVAL
        (disk.mount / "control").write_bytes(os.urandom(MEBIBYTE))
        disk.sync()
        assert disk.written_bytes - before - written >= MEBIBYTE, "what is written is not counted"
        say(f"{written} bytes written for {samples} samples: {per_day / 1e6:.2f} MB a day at the default interval")
        assert per_day <= WRITTEN_A_DAY
        machine.process.stop()


def prefill(settings: AgentSettings, cold: Path, hot: Path, count: int) -> None:
    """Let so many samples, one in ten seconds until now, wait in an outbox that the agent will take up."""
    cold.parent.mkdir(parents=True)
    probe = Probe(settings)
    boot = f"{boot_id()} {cold.parent.resolve()}"  # as the agent names it
    outbox = Outbox(cold, hot, max_bytes=64 * MEBIBYTE, boot=boot, clock=SystemClock())
    first = _now() - round(count * INTERVAL * 1000)
    for number in range(count):
        readings = dict(probe.collect())
        extra = {name: readings.pop(name) for name in [*readings] if name.startswith("probe")}
        outbox.append(first + round(number * INTERVAL * 1000), Vitals.model_validate(readings), extra)
        if number % 500 == 0:
            outbox.spill()
    outbox.close()


def _now() -> int:
    return time.time_ns() // 1_000_000
