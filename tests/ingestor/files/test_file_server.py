"""What machines may fetch, how fast, and that nobody waits because of it."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock
from ingestion import Bench
from sqlalchemy import Engine, select
from waiting import wait_until

from agent.action import Action, ActionContext, NoArguments, Outcome
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from ingestor.files.file_rates import FileRates
from ingestor.files.file_server import EACH_STEP, FileServer
from ingestor.files.file_store import BundleStore
from ingestor.files.machine_files import MachineFiles
from ingestor.files.turns import WAITING_MAX
from ingestor.ingestor import Ingestor
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.files.transfer import CHUNK_MAX_BYTES, Chunk, Fetch
from schemas.contract.topics import Address
from schemas.database import tables

CONTENT = random.Random(5).randbytes(400_000)  # noqa: S311 - made up
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> BundleStore:
    place = tmp_path / "bundle" / SHA256
    place.mkdir(parents=True)
    (place / "agent.whl").write_bytes(CONTENT)
    (tmp_path / "bundle" / "manifest.json").write_text("{}\n")
    return BundleStore(tmp_path / "bundle")


class Clients:
    """A file server, and what it sends to the machines."""

    def __init__(self, bundle: BundleStore, clock: Clock, **rates: float) -> None:
        self.clock = clock
        self.server = FileServer([bundle.find], FileRates(clock, **rates))
        broker = MemoryBroker()
        self.transport = MemoryTransport(broker, client_id="_ingestor", pass_time=lambda _: None)
        self._machines = MemoryTransport(
            broker, client_id="all", subscriptions=[(topics.CHUNK.filter(), 0)], pass_time=lambda _: None
        )
        for each in (self.transport, self._machines):
            each.receive(1, 0)

    def ask(self, machine: str = "attic", org: str = "home", sha256: str = SHA256, offset: int = 0) -> None:
        payload = Fetch(sha256=sha256, offset=offset).encode()
        self.server.handle(payload, Address(topics.FETCH, org=org, machine=machine))

    def step(self, seconds: float = 0.0) -> list[tuple[str, Chunk]]:
        self.clock.advance(seconds)
        self.server.step(self.transport)
        found = [message for message in self._machines.receive(1000, 0) if isinstance(message, Message)]
        addresses = [topics.parse(message.topic) for message in found]
        return [
            (f"{to.org}/{to.machine}", Chunk.decode(message.payload))
            for to, message in zip(addresses, found, strict=True)
            if to is not None
        ]


def test_a_machine_gets_the_part_that_it_asks_for(bundle: BundleStore, clock: Clock) -> None:
    clients = Clients(bundle, clock)
    clients.ask(offset=300_000)
    ((machine, chunk),) = clients.step()
    assert machine == "home/attic"
    assert (chunk.offset, chunk.size) == (300_000, 400_000)
    assert chunk.content == CONTENT[300_000 : 300_000 + CHUNK_MAX_BYTES]
    assert clients.step() == []


def test_the_manifest_is_found_by_its_hash_also_after_it_was_replaced(
    bundle: BundleStore, clock: Clock, tmp_path: Path
) -> None:
    clients = Clients(bundle, clock)
    path = tmp_path / "bundle" / "manifest.json"
    for text in ('{"v": 1}\n', '{"v": 1, "platforms": []}\n'):
        path.unlink()
        path.write_text(text)
        clients.ask(sha256=hashlib.sha256(text.encode()).hexdigest())
        ((_, chunk),) = clients.step(1)
        assert chunk.content == text.encode()


def test_what_is_no_file_for_machines_is_refused_with_a_reason(
    bundle: BundleStore, clock: Clock, tmp_path: Path
) -> None:
    clients = Clients(bundle, clock)
    clients.ask(sha256="0" * 64)
    ((_, chunk),) = clients.step()
    assert (chunk.refused, chunk.size, chunk.content) == ("unknown", None, b"")
    path = tmp_path / "bundle" / SHA256 / "agent.whl"
    path.unlink()
    path.symlink_to(path)  # cannot be read, whoever runs this
    (path.parent / "other").mkdir()
    clients.ask()
    ((_, chunk),) = clients.step(1)
    assert chunk.refused == "unknown"


def test_a_file_that_cannot_be_read_is_refused_as_an_error(clock: Clock, tmp_path: Path) -> None:
    clients = Clients(BundleStore(tmp_path), clock)
    clients.server = FileServer([lambda *_: tmp_path], FileRates(clock))  # a directory
    clients.ask()
    ((_, chunk),) = clients.step()
    assert chunk.refused == "error"
    assert "cannot read the file" in chunk.detail


def test_a_machine_its_organisation_and_all_together_get_no_more_than_their_rates(
    bundle: BundleStore, clock: Clock
) -> None:
    clients = Clients(bundle, clock, machine=200_000, org=300_000, total=400_000)
    taken: Counter[str] = Counter()
    began = clock.monotonic()
    while clock.monotonic() - began < 60:
        for org in ("home", "office"):
            for machine in ("attic", "cellar"):
                clients.ask(machine, org)
        for to, chunk in clients.step(0.05):
            taken[to] += len(chunk.encode())
    per_second = {name: number / 60 for name, number in taken.items()}
    assert 350_000 <= sum(per_second.values()) <= 420_000
    assert all(80_000 <= rate <= 120_000 for rate in per_second.values())  # all the same


def test_an_ingestor_does_not_sleep_while_a_machine_waits_for_the_rate_alone(
    fleet: Engine, bundle: BundleStore, clock: Clock
) -> None:
    waits: list[float] = []
    broker, rates = MemoryBroker(), FileRates(clock, machine=100_000)
    ingestor = Ingestor(
        store=Store(fleet, name="ingestor", dead_letter_max=100),
        open_transport=lambda *, subscriptions: MemoryTransport(
            broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=waits.append
        ),
        batch_max=100,
        ack_seconds=2.0,
        clock=clock,
        files=MachineFiles(FileServer([bundle.find], rates)),
    )
    for _ in range(10):
        ingestor.step()
    asleep = max(waits[-3:])
    rates.spend("home", "attic", 300_000)
    topic = topics.FETCH.at(org="home", machine="attic")
    broker.route(Message(topic, Fetch(sha256=SHA256).encode()))
    for _ in range(5):
        ingestor.step()
    assert max(waits[-3:]) < asleep / 2
    clock.advance(10)
    for _ in range(3):
        ingestor.step()
    ingestor.stop()


def test_the_newest_request_of_a_machine_waits_and_no_other(bundle: BundleStore, clock: Clock) -> None:
    clients = Clients(bundle, clock)
    for offset in (0, 1000, 2000):
        clients.ask(offset=offset)
    assert [chunk.offset for _, chunk in clients.step()] == [2000]


def test_many_requests_of_one_organisation_delay_another_by_one_step_at_most(bundle: BundleStore, clock: Clock) -> None:
    clients = Clients(bundle, clock)
    for number in range(WAITING_MAX + 10):
        clients.ask(f"machine-{number}")
    clients.ask("attic", "office")
    first = clients.step()
    second = clients.step()
    assert len(first) == len(second) == EACH_STEP
    assert "office/attic" in [machine for machine, _ in first + second]


def test_requests_are_forgotten_while_there_is_no_connection(bundle: BundleStore, clock: Clock) -> None:
    clients = Clients(bundle, clock)
    clients.ask()
    clients.transport.cut()
    assert clients.step() == []
    clients.transport.receive(1, 0)
    assert clients.step() == []


def test_an_invalid_request_becomes_a_dead_letter_and_one_of_another_hash_cannot_name_a_path(
    make_bench: Callable[[], Bench], fleet: Engine
) -> None:
    bench = make_bench()
    topic = topics.FETCH.at(org="home", machine="attic")
    for payload in (b"{", b'{"v": 1, "sha256": "../../etc/passwd"}', b'{"v": 1, "sha256": "' + b"a" * 64 + b'"}'):
        bench.publish(Message(topic, payload))
        bench.step(steps=2)
    with fleet.connect() as connection:
        reasons = connection.execute(select(tables.dead_letter.c.reason)).scalars().all()
    assert sorted(reasons) == ["invalid", "not-json"]


def test_an_action_fetches_a_file_over_the_connection_while_samples_go_on(
    fleet: Engine, bundle: BundleStore, clock: Clock, tmp_path: Path
) -> None:
    fetched: list[bytes] = []

    def fetch(_arguments: NoArguments, context: ActionContext) -> Outcome:
        fetched.append(context.fetch(SHA256, limit=1 << 20, seconds=60).read_bytes())
        return Outcome.succeeded()

    (tmp_path / "agent").mkdir()
    agent = AgentUnderTest(tmp_path / "agent", clock, Action("fetch", "Fetch", NoArguments, fetch))
    ingestor = Ingestor(
        store=Store(fleet, name="ingestor", dead_letter_max=100),
        open_transport=lambda *, subscriptions: MemoryTransport(
            agent.broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=lambda _: None
        ),
        batch_max=100,
        ack_seconds=2.0,
        clock=clock,
        files=MachineFiles(FileServer([bundle.find], FileRates(clock))),
    )
    order = agent.operator.order("fetch")
    agent.send(order)

    def done() -> bool:
        clock.advance(0.05)
        agent.step()
        ingestor.step()
        return bool(fetched) and agent.idle

    wait_until(done, seconds=30, what="the file")
    assert fetched == [CONTENT]
    agent.stop()
    ingestor.stop()
