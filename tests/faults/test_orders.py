"""Orders and a real agent that is killed, restarted and told everything twice: each runs once, or not at all."""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acting import Operator, new_id
from agent_under_test import recorded, recorder
from brokers import embedded_broker
from clocks import Clock
from faults.fleet import PROBE, SECRET
from faults.oracle import say
from faults.processes import Process
from faults.scale import SCALE
from waiting import wait_until

from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Connected, Message
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.commands import CommandMessage, Order, Result
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import Info, Signed, Status
from schemas.contract.signing import public_key, sign

OWN = {"org": "home", "machine": "attic"}
MACHINE = Principal(Role.MACHINE, "home", "attic")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")


class Server:
    """What the ingestor says and hears, through its own credential."""

    def __init__(self, transport: Mqtt) -> None:
        self._transport = transport
        self._heard: list[Message] = []
        self.operator = Operator(Clock())

    def order(self, action: str, *, lives_seconds: float = 3600, **arguments: object) -> tuple[str, Signed]:
        now = time.time_ns() // 1_000_000
        times = {"issued_at": now, "expires_at": now + round(lives_seconds * 1000)}
        values = {**OWN, **times, "id": os.urandom(16).hex(), "action": action, "arguments": arguments}
        order = Order.model_validate(values)
        return order.id, sign(order, self.operator.seed)

    def send(self, order: Signed) -> None:
        self._publish(topics.COMMAND, CommandMessage(order=order).encode())

    def ack(self, id_: str) -> None:
        self._publish(topics.ACK, Ack(results=(id_,)).encode())

    def listen(self) -> None:
        self._heard += [event for event in self._transport.receive(1000, 0.02) if isinstance(event, Message)]

    def results(self, id_: str) -> list[Result]:
        self.listen()
        found = [Result.decode(message.payload) for message in self._heard if message.topic == topics.RESULT.at(**OWN)]
        return [result for result in found if result.id == id_]

    def final(self, id_: str) -> Result | None:
        return next((result for result in self.results(id_) if result.state != "running"), None)

    def statuses(self) -> list[Status]:
        self.listen()
        return [Status.decode(found.payload) for found in self._heard if found.topic == topics.STATUS.at(**OWN)]

    def infos(self) -> list[Info]:
        self.listen()
        return [Info.decode(found.payload) for found in self._heard if found.topic == topics.INFO.at(**OWN)]

    def outcome(self, id_: str, order: Signed) -> Result:
        """Send an order until its outcome is heard, as an ingestor does."""
        again_at = 0.0

        def found() -> Result | None:
            nonlocal again_at
            if time.monotonic() >= again_at:
                again_at = time.monotonic() + 1.0
                self.send(order)
            return self.final(id_)

        result = wait_until(found, seconds=60, what=f"the outcome of {id_}")
        assert result is not None
        return result

    def _publish(self, topic: topics.Topic, payload: bytes) -> None:
        self._transport.publish(Message(topic.at(**OWN), payload, topic.qos))


@contextmanager
def bench(directory: Path, **settings: object) -> Iterator[tuple[Server, Process]]:
    """A broker, the ingestor's side of it, and a machine whose agent is a process of its own, not started yet."""
    with embedded_broker({MACHINE: SECRET, INGESTOR: SECRET}) as broker:
        transport = Mqtt(
            broker.address,
            username=INGESTOR.username,
            password=SECRET,
            subscriptions=[(topic.filter(), 1) for topic in (topics.RESULT, topics.STATUS, topics.INFO)],
        )
        server = Server(transport)
        wait_until(lambda: any(isinstance(event, Connected) for event in transport.receive(100, 0.1)), what="a broker")
        allowed = ["append", "ping", "restart", "reboot", "run"]
        where = {"data": directory, "machine": "attic", "server": f"mqtt://127.0.0.1:{broker.port}"}
        resolved = AgentSettings.model_validate({**where, "allowed_actions": allowed, **settings})
        keys = [EnrolledKey(public_key=public_key(server.operator.seed))]
        create_before_keys(directory / "agent", SystemClock())
        write_keys(directory / "agent" / KEYS_FILE, "home", keys)
        process = Process(
            "agent",
            [sys.executable, "-OO", str(PROBE)],
            ready="ready: ",
            log=directory / "agent.log",
            environment={
                "DASHFLEET_RESOLVED_SETTINGS": resolved.model_dump_json(exclude={"password"}),
                "DASHFLEET_AGENT_PASSWORD": SECRET,
                "PROBE_JOURNAL": str(directory / "samples"),
                "PROBE_SPILL_SECONDS": "3",
                "PROBE_BACKOFF_SECONDS": "0.2",
                "PROBE_RESEND_SECONDS": "2",
            },
        )
        try:
            yield server, process
        finally:
            process.stop()
            transport.close()


def start(server: Server, process: Process) -> None:
    """Start the agent, and wait until it is connected."""
    before = len(server.infos())
    process.start()
    wait_until(lambda: len(server.infos()) > before, seconds=30, what="the agent's connection")


@pytest.mark.timeout(3600)
def test_no_order_runs_twice_or_after_its_expiry_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311 - a repeatable one
    file = tmp_path / "appended"
    outcomes: Counter[str] = Counter()
    given: dict[str, Signed] = {}
    with bench(tmp_path) as (server, process):
        start(server, process)
        for _ in range(SCALE.orders):
            id_, order = server.order("append", file=str(file), seconds=chance.choice((0.0, 0.05, 0.3)))
            given[id_] = order
            for _ in range(chance.randint(1, 3)):
                server.send(order)
            server.listen()
            time.sleep(chance.uniform(0, 0.3))  # before it, in the middle of it, or after it
            process.kill()
            server.send(order)  # nobody hears it
            start(server, process)
            result = server.outcome(id_, order)
            server.send(order)
            outcomes[result.reason or result.state] += 1
            ran = file.read_text().split().count(id_) if file.exists() else 0
            assert ran <= 1
            assert (result.state, result.reason) in (("succeeded", ""), ("failed", "interrupted"))
            assert ran == 1 or result.reason == "interrupted"
            if chance.random() < 0.5:
                server.ack(id_)
        expired = [server.order("append", lives_seconds=0.5, file=str(file), seconds=0) for _ in range(SCALE.orders)]
        process.kill()
        time.sleep(0.6)  # they expire by the machine's real clock
        start(server, process)
        assert {server.outcome(*each).reason for each in expired} == {"expired"}
        for id_, order in given.items():  # once more, all of them
            assert server.outcome(id_, order).state != "rejected"
    noted = Counter(file.read_text().split())
    say(f"{SCALE.orders} orders, the agent killed over each: {dict(outcomes)}; {SCALE.orders} expired, all refused")
    assert set(noted.values()) <= {1}
    assert not set(noted) & {id_ for id_, _ in expired}


def test_a_restart_reports_when_the_agent_is_back_and_is_not_done_again(tmp_path: Path) -> None:
    with bench(tmp_path) as (server, process):
        start(server, process)
        pid = process.pid
        before = server.statuses()[-1].session
        id_, order = server.order("restart")
        result = server.outcome(id_, order)
        assert (result.state, result.session > before) == ("succeeded", True)
        assert "running" in [found.state for found in server.results(id_)]
        assert [status.reason for status in server.statuses() if status.state == "offline"] == ["restarting"]
        assert process.output.count(b"ready: ") == 2
        assert (process.running, process.pid) == (True, pid)
        heard = len(server.results(id_))
        for _ in range(3):
            server.send(order)
        wait_until(lambda: len(server.results(id_)) >= heard + 3, what="three answers")
        ping = server.order("ping", echo=new_id())
        assert server.outcome(*ping).state == "succeeded"
        assert server.statuses()[-1].session == result.session
        assert process.output.count(b"ready: ") == 2


def test_a_reboot_is_left_to_the_system_and_said_in_the_goodbye(tmp_path: Path) -> None:
    program = recorder(tmp_path, "reboot")
    command = [str(program), "+{minutes}", "{notice}"]
    with bench(tmp_path, reboot_command=command) as (server, process):
        start(server, process)
        id_, order = server.order("reboot", delay_seconds=90, notice="for the new kernel")
        server.send(order)
        wait_until(lambda: recorded(program), what="the reboot command")
        wait_until(lambda: server.results(id_), what="that it runs")
        server.outcome(*server.order("ping"))  # what the reboot asked of the agent is done
        process.stop()
        wait_until(lambda: server.statuses()[-1].state == "offline", what="the goodbye")
        assert server.statuses()[-1].reason == "rebooting"
        start(server, process)
        server.send(order)
        server.outcome(*server.order("ping"))
        assert {found.state for found in server.results(id_)} == {"running"}  # it is still the same boot
        assert recorded(program) == [["+2", "for the new kernel"]]


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_a_command_ends_with_the_agent_and_was_interrupted(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = """
import os, sys, time
os.fork() or os.setsid()
open(sys.argv[1], "a").write(str(os.getpid()) + " ")
time.sleep(600)
"""
    line = {"argv": [sys.executable, "-ISc", code, str(pid)]}
    with bench(tmp_path, commands={"stay": line}) as (server, process):
        start(server, process)
        id_, order = server.order("run", command="stay")
        server.send(order)
        wait_until(lambda: pid.exists() and len(pid.read_text().split()) == 2, what="the command")
        process.kill()
        wait_until(lambda: not any(is_there(int(each)) for each in pid.read_text().split()), what="its end")
        start(server, process)
        assert server.outcome(id_, order).reason == "interrupted"


def is_there(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
