"""The actions `push` and `pull`, with agent, ingestor and operator: off by default, and whole or not at all."""

import hashlib
import random
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from agent_under_test import OWN, AgentUnderTest, id_of
from clocks import Clock
from sqlalchemy import Engine, select
from waiting import wait_until

from agent.orders.trusted_keys import KEYS_FILE
from broker.access.policy import Principal, Role
from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from ingestor.admin.access import add_org, add_principal
from ingestor.files.file_rates import FileRates
from ingestor.files.file_server import FileServer
from ingestor.files.machine_files import MachineFiles
from ingestor.files.server_files import FileLimits, ServerFiles
from ingestor.files.upload_receiver import UploadReceiver
from ingestor.ingestor import Ingestor
from ingestor.storage.store import Store
from runtime.settings.agent import ALLOWED_ACTIONS
from schemas.contract import topics
from schemas.contract.commands import Result
from schemas.database import tables
from schemas.database.queries.commands import is_pulling, show_command

CONTENT = random.Random(5).randbytes(300_000)  # noqa: S311 - made up
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """An agent whose owner has named one directory, and the server that it belongs to."""

    def __init__(self, directory: Path, fleet: Engine, clock: Clock) -> None:
        self.clock, self.fleet = clock, fleet
        self.named = directory / "named"
        self.named.mkdir()
        (directory / "agent").mkdir()
        self.agent = AgentUnderTest(
            directory / "agent",
            clock,
            push_directories=[self.named],
            pull_directories=[self.named],
            interval_seconds=1.0,
        )
        self.store = ServerFiles(directory / "files", FileLimits(4 << 20, 4 << 20, 8 << 20, days=7))
        self.content = directory / "content"
        self.content.write_bytes(CONTENT)
        self.start()

    def start(self) -> None:
        self.ingestor = Ingestor(
            store=Store(self.fleet, name="ingestor", dead_letter_max=100),
            open_transport=lambda *, subscriptions: MemoryTransport(
                self.agent.broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=lambda _: None
            ),
            batch_max=100,
            ack_seconds=0.5,
            clock=self.clock,
            files=MachineFiles(
                FileServer([self.store.find], FileRates(self.clock)),
                UploadReceiver(self.store, partial(is_pulling, self.fleet), FileRates(self.clock)),
            ),
        )

    def step(self, seconds: float = 0.05) -> None:
        self.clock.advance(seconds)
        self.agent.step()
        self.ingestor.step()

    def sampled_at(self) -> int:
        """Return when the newest stored sample was taken, 0 before the first."""
        with self.fleet.connect() as connection:
            return connection.scalar(select(tables.state.c.sampled_at)) or 0

    def order(self, action: str, **arguments: object) -> str:
        """Order an action through the ingestor; return the id of its command."""
        order = self.agent.operator.order(action, arguments=arguments)
        self.agent.broker.route(self.agent.operator.act(order))
        return id_of(order)

    def outcome(self, id_: str) -> Result:
        def found() -> list[Result]:
            self.step()
            return [each for each in self.agent.results(id_) if each.state != "running"]

        return wait_until(found, seconds=30, what="the outcome")[-1]

    def act(self, action: str, **arguments: object) -> Result:
        return self.outcome(self.order(action, **arguments))


@pytest.fixture
def server(tmp_path: Path, database: Engine, clock: Clock) -> Iterator[Server]:
    add_org(database, "home", now=clock.now)
    add_principal(database, Principal(Role.MACHINE, "home", "attic"), "made-up", now=clock.now)
    running = Server(tmp_path, database, clock)
    running.step()
    yield running
    running.agent.stop()
    running.ingestor.stop()


def test_a_pushed_file_is_written_as_ordered_while_samples_go_on(server: Server) -> None:
    path, sha256 = server.named / "app.conf", server.store.add("home", server.content)
    samples = len(server.agent.samples)
    done = server.act("push", path=str(path), sha256=sha256, mode="0640")
    assert (done.state, done.detail) == ("succeeded", "The file was written: 300000 bytes.")
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list((server.agent.directory / "transfer").iterdir()) == []
    again = server.act("push", path=str(path), sha256=sha256)
    assert (again.state, again.reason) == ("failed", "refused")
    assert again.detail == "app.conf exists: replace=true replaces it"
    server.content.write_bytes(b"other")
    replaced = server.act("push", path=str(path), sha256=server.store.add("home", server.content), replace=True)
    assert replaced.state == "succeeded"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"other", 0o640)
    server.clock.advance(20)
    server.step()
    assert len(server.agent.samples) > samples


def test_a_file_that_the_server_does_not_offer_to_this_organisation_is_not_pushed(server: Server) -> None:
    sha256 = server.store.add("office", server.content)
    done = server.act("push", path=str(server.named / "app.conf"), sha256=sha256)
    assert (done.state, done.reason, done.detail) == ("failed", "not-fetched", "the server has no such file")
    assert list(server.named.iterdir()) == []


def test_a_pulled_file_is_stored_under_the_id_of_its_command(server: Server) -> None:
    (server.named / "log").write_bytes(CONTENT)
    id_ = server.order("pull", path=str(server.named / "log"))
    done = server.outcome(id_)
    assert done.state == "succeeded"
    assert done.detail == f"The server has the file, 300000 bytes: dashfleet files get {id_} FILE copies it."
    assert done.output == f"SHA-256 {SHA256}\n"
    (stored,) = server.store.get(id_)
    assert stored.path.read_bytes() == CONTENT
    assert list((server.agent.directory / "transfer").iterdir()) == []
    command = show_command(server.fleet, id_)
    assert command is not None
    assert command["arguments"] == {"path": str(server.named / "log")}


def test_a_pull_survives_a_lost_connection_and_a_restart_of_the_server(server: Server) -> None:
    (server.named / "log").write_bytes(CONTENT)
    id_ = server.order("pull", path=str(server.named / "log"))

    def has(size: int) -> bool:
        server.step()
        parts = list(server.store.pulled("home", "attic").glob("*.part"))
        return bool(parts) and parts[0].stat().st_size >= size

    wait_until(lambda: has(30_000), what="the first bytes")
    server.agent.transport.cut()
    wait_until(lambda: has(100_000), what="more bytes")
    server.ingestor.stop()
    server.start()
    assert server.outcome(id_).state == "succeeded"
    assert server.store.get(id_)[0].path.read_bytes() == CONTENT


@pytest.mark.parametrize("action", ["push", "pull"])
def test_a_file_arrives_over_a_link_that_loses_a_fifth_and_breaks_five_times_while_samples_stay_current(
    server: Server, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(9)  # noqa: S311 - the same each time
    content = random.Random(8).randbytes(1_000_000)  # noqa: S311 - made up
    server.content.write_bytes(content)
    (server.named / "log").write_bytes(content)
    of_files = tuple(topic.at(**OWN) for topic in (topics.FETCH, topics.CHUNK, topics.UPLOAD, topics.RECEIPT))
    lost, passed = Counter[str](), Counter[str]()
    route = server.agent.broker.route

    def lossy(message: Message) -> None:
        if message.topic in of_files and chance.random() < 0.2:
            lost[message.topic] += 1
            return
        passed[message.topic] += message.topic in of_files
        route(message)

    monkeypatch.setattr(server.agent.broker, "route", lossy)
    wait_until(lambda: server.step() or server.sampled_at(), what="a sample")  # type: ignore[func-returns-value]
    more = {"sha256": server.store.add("home", server.content)} if action == "push" else {}
    id_ = server.order(action, path=str(server.named / ("new" if action == "push" else "log")), **more)
    ages, cuts, done = [0], 0, list[Result]()
    while not done:
        server.step(0.1)
        ages.append(server.clock.now() - server.sampled_at())
        if cuts < 5 and passed.total() >= 4 * (cuts + 1):
            server.agent.transport.cut()
            cuts += 1
        assert len(ages) < 4_000, (lost, passed, cuts)
        done = [each for each in server.agent.results(id_) if each.state != "running"]
    assert done[-1].state == "succeeded", done[-1].detail
    arrived = server.named / "new" if action == "push" else server.store.get(id_)[0].path
    assert arrived.read_bytes() == content
    assert (cuts, lost.total() > 3) == (5, True)
    assert max(ages) <= 5000


@pytest.mark.parametrize("action", ["push", "pull"])
def test_a_path_that_the_owner_has_not_named_is_rejected_before_anything_is_transferred(
    server: Server, action: str
) -> None:
    secret = server.agent.directory / KEYS_FILE
    kept = secret.read_bytes()
    more = {"sha256": server.store.add("home", server.content), "replace": True} if action == "push" else {}
    for path in (str(secret), f"{server.named}/../agent/{KEYS_FILE}", "/etc/passwd"):
        done = server.act(action, path=path, **more)
        assert (done.state, done.reason) == ("rejected", "arguments")
    (server.named / "keys").symlink_to(secret)
    linked = server.act(action, path=str(server.named / "keys"), **more)
    assert (linked.state, linked.reason) == ("failed", "refused")
    assert secret.read_bytes() == kept
    assert not list(server.store.pulled("home", "attic").glob("*"))


def test_a_file_above_the_owners_limit_is_refused_in_both_directions(server: Server) -> None:
    server.agent.stop()
    server.agent.start(file_max_bytes=1000)
    (server.named / "log").write_bytes(CONTENT)
    pulled = server.act("pull", path=str(server.named / "log"))
    assert pulled.detail == "the file has 300000 bytes, more than 1000"
    pushed = server.act("push", path=str(server.named / "new"), sha256=server.store.add("home", server.content))
    assert pushed.detail == "the file has 300000 bytes, more than 1000"


def test_a_machine_cannot_store_a_file_that_nobody_has_pulled(server: Server) -> None:
    (server.named / "log").write_bytes(CONTENT)
    order = server.agent.operator.order("pull", arguments={"path": str(server.named / "log")})
    server.agent.send(order)  # which never went through the server
    done = server.outcome(id_of(order))
    assert (done.state, done.reason) == ("failed", "not-sent")
    assert done.detail == "no order of an operator pulls this file from this machine"
    assert server.store.entries() == []


def test_both_are_off_by_default_and_say_what_they_permit(server: Server) -> None:
    assert {"push", "pull"}.isdisjoint(ALLOWED_ACTIONS)
    described = {each.name: each for each in server.agent.infos[-1].actions or ()}
    for name in ("push", "pull"):
        path = described[name].arguments_schema["properties"]["path"]
        assert path["description"] == f"Absolute path of the file; permitted here: {server.named}"
    server.agent.stop()
    server.agent.start(push_directories=[], pull_directories=[])
    described = {each.name: each for each in server.agent.infos[-1].actions or ()}
    assert described["pull"].arguments_schema["properties"]["path"]["description"].endswith("permitted here: nothing")
    assert server.act("pull", path=str(server.named / "log")).state == "rejected"
    subscribed = topics.RECEIPT.at(**OWN)
    assert subscribed not in [topic for topic, _ in server.agent.transport._subscriptions]
