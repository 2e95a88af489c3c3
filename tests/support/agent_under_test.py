"""An agent that takes orders, with a broker in memory and a manual clock, and its operator."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acting import Operator, order_of
from clocks import Clock
from waiting import wait_until

import agent.actions
from agent.action import Action, ActionContext, Arguments, NoArguments, Outcome, action, discover
from agent.agent import Agent
from agent.collection.detail_runner import DetailRunner
from agent.collection.facts_publisher import FactsPublisher
from agent.collection.live_readings import LiveReadings
from agent.collection.sample_runner import CollectorRunner
from agent.collector import Collector, DetailCollector, Readings
from agent.configuration import Configuration
from agent.orders.executor import Executor
from agent.orders.journal import Journal, create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, TrustedKeys, write_keys
from agent.outbox.outbox import Outbox
from agent.relocation.move_record import receiver_of
from agent.session_counter import SessionCounter
from agent.transfer.file_transfers import FileTransfers
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Backoff, Message, Transport, WillMaker
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.commands import CommandMessage, Desired, Result
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.facts import FactsMessage
from schemas.contract.messages import Extra, Info, Metric, OfflineReason, Signed, Status, Telemetry, Vitals
from schemas.contract.signing import public_key

OWN = {"org": "home", "machine": "attic"}


class Warmth(Collector):
    metrics = (Metric(name="warmth", unit="celsius", title="Warmth"),)

    def collect(self) -> Readings:
        return {"warmth": 20.0}


class Load(Collector):
    metrics = (Metric(name="load_1m", unit="processes", title="Load"),)

    def collect(self) -> Readings:
        return {"load_1m": 0.5}


class Line(Arguments):
    text: str


def appending(file: Path) -> Action[Line]:
    """Return an action `append` that adds a line to a file."""

    @action(Line, title="Append")
    def append(arguments: Line, _context: ActionContext) -> Outcome:
        with file.open("a") as out:
            out.write(f"{arguments.text}\n")
        return Outcome.succeeded("appended")

    return append


def calling(do: Callable[[], Outcome | None], *, name: str = "call", seconds: float = 60.0) -> Action[NoArguments]:
    """Return an action that calls a function of the test."""

    def run(_arguments: NoArguments, _context: ActionContext) -> Outcome | None:
        return do()

    return Action(name, name.title(), NoArguments, run, seconds=seconds)


class RecordingContext:
    """A context that records the requests of an action."""

    def __init__(self, clock: Clock, **settings: Any) -> None:  # noqa: ANN401 - fields of AgentSettings
        self.settings = AgentSettings(data=Path(), machine="attic", **settings)
        self.order = order_of(Operator(clock).order())
        self.received_at = clock.now()
        self.now = clock.now
        self.asked: list[object] = []
        self.transfer_directory = Path()

    def sample(self) -> int:
        self.asked.append("sample")
        return 1

    def fetch(self, sha256: str, *, limit: int, seconds: float) -> Path:
        self.asked.append(("fetch", sha256, limit, seconds))
        raise FileNotFoundError(sha256)

    def send(self, path: Path, sha256: str, *, seconds: float) -> None:
        self.asked.append(("send", path, sha256, seconds))

    def configure(self, requested: object) -> str:
        self.asked.append(requested)
        return ""

    def restart(self, reason: OfflineReason) -> None:
        self.asked.append(("restart", reason))

    def set_stop_reason(self, reason: OfflineReason) -> None:
        self.asked.append(("set_stop_reason", reason))

    def readings(self) -> tuple[Vitals, Extra]:
        return Vitals(load_1m=0.5), {}

    @property
    def session(self) -> int:
        return 7

    def leave(self) -> None:
        self.asked.append("leave")


class AgentUnderTest:
    """The agent, its operator, and an observer of everything it publishes. `start` it again after `kill` or `stop`."""

    def __init__(self, directory: Path, clock: Clock, *actions: Action[Any], **settings: Any) -> None:  # noqa: ANN401
        self.directory, self.clock = directory, clock
        self.operator = Operator(clock)
        self.file = directory / "appended"
        self.boot = "b" * 32
        self.processes = 0
        self.detail_collectors: Sequence[DetailCollector] = ()
        self.live: LiveReadings | None = None
        self.monotonic = clock.monotonic
        self.broker = MemoryBroker()
        self.heard: list[Message] = []
        self._observer = MemoryTransport(
            self.broker,
            client_id="observer",
            subscriptions=[("dashfleet/v1/+/+/up/+", 1), (topics.FACTS.filter(), 1)],
            pass_time=lambda _: None,
        )
        self._observer.receive(1, 0)
        self.actions: dict[str, Action[Any]] = {**discover(agent.actions), "append": appending(self.file)}
        self.actions |= {found.name: found for found in actions}
        fields: Mapping[str, Any] = {"allowed_actions": sorted(self.actions), **settings}
        self.settings = AgentSettings(data=directory, machine="attic", **fields)
        self.enrol(self.operator.seed)
        self.start()

    def enrol(self, *seeds: str) -> None:
        keys = [EnrolledKey(public_key=public_key(seed)) for seed in seeds]
        create_before_keys(self.directory, self.clock)
        write_keys(self.directory / KEYS_FILE, "home", keys)

    def start(self, **settings: Any) -> None:  # noqa: ANN401 - fields of AgentSettings
        self.settings = self.settings.model_copy(update=settings)
        self.processes += 1
        self.journal = Journal(self.directory / "journal.db", self.clock)
        self.executor = Executor(
            self.settings,
            actions=self.actions,
            keys=TrustedKeys(self.directory / KEYS_FILE, "home"),
            journal=self.journal,
            configuration=Configuration(self.directory / "configuration.json", self.settings, self.clock),
            transfers=FileTransfers(self.directory / "transfer", self.clock, bytes_per_second=1 << 20),
            process=f"process-{self.processes}",
            boot=self.boot,
            clock=self.clock,
        )
        self.details = DetailRunner(
            self.detail_collectors,
            self.settings,
            self.clock,
            FactsPublisher(self.directory / "facts.json", self.clock),
            start=lambda work: work(),
        )
        self.runner = CollectorRunner([Warmth(self.settings), Load(self.settings)], timeout_seconds=5)
        self.outbox = Outbox(
            self.directory / "outbox.db",
            self.directory / "hot.db",
            max_bytes=1 << 20,
            boot="boot",
            clock=self.clock,
            receiver=receiver_of(self.settings.data),
        )
        self.agent = Agent(
            self.settings,
            open_transport=self._open_transport,
            outbox=self.outbox,
            runner=self.runner,
            sessions=SessionCounter(self.directory / "session", self.clock),
            clock=self.clock,
            executor=self.executor,
            details=self.details,
            live=self.live,
        )
        self.step(3)

    def stop(self) -> None:
        self.agent.stop()

    def kill(self) -> None:
        """Leave the state of a SIGKILL. A running action continues in its thread, unobserved."""
        self.transport.close()
        self.journal.close()
        self.outbox.close()

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.agent.step()

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.step()

    def publish(self, topic: topics.Topic, payload: bytes, *, retain: bool = False) -> None:
        levels = {"org": "home"} if topic is topics.ORG_CONFIG else OWN
        self.broker.route(Message(topic.at(**levels), payload, topic.qos, retain))

    def send(self, order: Signed, *, attempt: int = 1) -> None:
        self.publish(topics.COMMAND, CommandMessage(order=order, attempt=attempt).encode())
        self.step(2)

    def desire(self, version: int, order: Signed) -> None:
        self.publish(topics.CONFIG, Desired(version=version, order=order).encode(), retain=True)
        self.step(2)

    def ack(self, *ids: str) -> None:
        self.publish(topics.ACK, Ack(results=ids).encode())
        self.step(2)

    def outcome(self, order: Signed) -> Result:
        """Send an order and wait for its final result."""
        self.send(order)
        return self.final(order)

    def final(self, order: Signed) -> Result:
        id_ = id_of(order)

        def found() -> list[Result]:
            self.step()
            return [result for result in self.results(id_) if result.state != "running"]

        return wait_until(found, what=f"the outcome of {id_}")[-1]

    def results(self, id_: str | None = None) -> list[Result]:
        found = [Result.decode(message.payload) for message in self._heard(topics.RESULT)]
        return [result for result in found if id_ in (None, result.id)]

    def states(self, order: Signed) -> list[str]:
        return [result.state for result in self.results(id_of(order))]

    @property
    def idle(self) -> bool:
        """True when no action runs and none waits."""
        return self.executor._thread is None and not self.executor._queue

    @property
    def infos(self) -> list[Info]:
        return [Info.decode(message.payload) for message in self._heard(topics.INFO)]

    @property
    def statuses(self) -> list[Status]:
        return [Status.decode(message.payload) for message in self._heard(topics.STATUS)]

    def facts(self, kind: str) -> list[FactsMessage | None]:
        """Return all messages of a kind, None for those that cleared it."""
        found = self._heard(topics.FACTS, kind=kind)
        return [FactsMessage.decode(message.payload) if message.payload else None for message in found]

    @property
    def samples(self) -> list[Telemetry]:
        return [Telemetry.decode(message.payload) for message in self._heard(topics.TELEMETRY)]

    @property
    def lines(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def forget(self) -> None:
        self._heard(topics.RESULT)
        self.heard.clear()

    def _heard(self, topic: topics.Topic, **levels: str) -> list[Message]:
        self.heard += [event for event in self._observer.receive(100_000, 0) if isinstance(event, Message)]
        return [message for message in self.heard if message.topic == topic.at(**OWN, **levels)]

    def _open_transport(self, *, subscriptions: list[tuple[str, int]], will: WillMaker, backoff: Backoff) -> Transport:
        del backoff
        self.transport = MemoryTransport(
            self.broker,
            client_id="home.attic",
            subscriptions=subscriptions,
            will=will,
            pass_time=lambda seconds: self.clock.advance(max(seconds, 0.001)),
        )
        return self.transport


def id_of(order: Signed) -> str:
    """Return the id in an order's statement."""
    return order.statement.partition('"id":"')[2][:32]


def recorder(directory: Path, name: str, *, code: int = 0) -> Path:
    """Return a program that only records its argv. See `recorded`."""
    program = directory / name
    noted = shlex.quote(str(program.with_suffix(".argv")))
    program.write_text(f'#!/bin/sh\nprintf "%s\\0" "$#" "$@" >> {noted}\necho recorded\nexit {code}\n')
    program.chmod(0o755)
    return program


def recorded(program: Path) -> list[list[str]]:
    """Return the argv of each run of a recorder, without the program."""
    noted = program.with_suffix(".argv")
    words = noted.read_bytes().decode().split("\0")[:-1] if noted.exists() else []
    found = []
    while words:
        count = int(words[0])
        found.append(words[1 : 1 + count])
        words = words[1 + count :]
    return found
