"""Commands to real agents while the broker, the ingestor and the agents are killed: none is lost, none runs twice."""

import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.fleet import ORG, SECRET, Fleet, running_fleet
from faults.oracle import say
from faults.scale import SCALE, SHORT
from faults.test_kills import STACKS, kills
from sqlalchemy import select
from waiting import wait_until

from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.request_client import OPERATOR_NAME, RequestClient, act, orders
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from ingestor.admin.key_changes import add_key
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.commands import FINAL, Act, Order, Request
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.signing import new_key, public_key
from schemas.database import tables

MACHINES = ("alpha", "beta", "gamma")
OPERATOR = Principal(Role.OPERATOR, ORG, OPERATOR_NAME)
ROUNDS = -(-SCALE.orders // len(MACHINES))


class Operator:
    """Sends one order to every machine at a time, and keeps what it sent."""

    def __init__(self, fleet: Fleet, seed: str, file: Path) -> None:
        self._seed, self._file = seed, file
        self._transport = Mqtt(
            ServerAddress.parse(f"mqtt://127.0.0.1:{fleet.port}"),
            username=OPERATOR.username,
            password=SECRET,
            subscriptions=RequestClient.subscriptions(OPERATOR),
        )
        self._client = RequestClient(self._transport, OPERATOR, clock=SystemClock(), retry_seconds=1.0)
        self.sent: list[Request] = []

    def append(self, *machines: str, seconds: float, lifetime_seconds: float = 600) -> Request:
        """Order the noting of each order's id, which then takes so many seconds more."""
        arguments = {"file": str(self._file), "seconds": seconds}
        return self.send("append", *machines, arguments=arguments, lifetime_seconds=lifetime_seconds)

    def send(
        self,
        action: str,
        *machines: str,
        arguments: Mapping[str, object] | None = None,
        lifetime_seconds: float = 600,
    ) -> Request:
        """One request with an order for each machine."""
        wanted = orders(machines, action, arguments or {}, org=ORG, now=_now(), lifetime_seconds=lifetime_seconds)
        (request,) = act(wanted, self._seed, actor="the test")
        self._client.send(ORG, request, until=_now() + 600_000)
        self.sent.append(request)
        return request

    def listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._client.step(min(left, 0.05))

    def wait_until_accepted(self) -> None:
        wait_until(self._nobody_waits, seconds=60, what="an answer to every request")

    def say_again(self) -> None:
        """Everything that was ever sent, once more."""
        topic = topics.REQUEST.at(org=ORG, principal=OPERATOR.level)
        wait_until(self._is_connected, what="the operator's connection")
        for request in self.sent:
            assert self._transport.publish(Message(topic, request.encode(), topics.REQUEST.qos))
            self.listen(0.02)

    def close(self) -> None:
        self._transport.close()

    def _is_connected(self) -> bool:
        self._client.step(0.05)
        return self._client.connected

    def _nobody_waits(self) -> bool:
        self._client.step(0.05)
        return not self._client.pending


@contextmanager
def acting(directory: Path, broker: str, database: str) -> Iterator[tuple[Fleet, Operator, Path]]:
    """A running fleet of machines that obey an operator, and the file to which their orders append their ids."""
    with running_fleet(directory, broker=broker, database=database) as fleet:
        seed, file = new_key(), directory / "appended"
        add_principal(fleet.engine, OPERATOR, SECRET, now=_now)
        add_key(fleet.engine, ORG, seed, signer=None, name="test", expires_at=None, now=_now)
        for name in MACHINES:
            machine = fleet.add_machine(name, allowed_actions=["append", "restart"])
            create_before_keys(machine.data / "agent", SystemClock())
            write_keys(machine.data / "agent" / KEYS_FILE, ORG, [EnrolledKey(public_key=public_key(seed))])
        fleet.configure(reconnect_spread_seconds=0.2)
        fleet.start()
        fleet.wait_until_present()
        operator = Operator(fleet, seed, file)
        try:
            yield fleet, operator, file
        except BaseException:
            sys.stdout.write(f"--- the commands were {_states(fleet)}, the machines {fleet.look()}\n")
            raise
        finally:
            operator.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("broker", "database"), STACKS[: 1 if SCALE is SHORT else None])
def test_no_command_is_lost_or_runs_twice_whatever_part_is_killed(tmp_path: Path, broker: str, database: str) -> None:
    chance = random.Random(5)  # noqa: S311 - a repeatable one
    with acting(tmp_path, broker, database) as (fleet, operator, file):
        victims = itertools.cycle(kills(fleet, chance, Counter()).items())
        killed: Counter[str] = Counter()
        for _ in range(max(ROUNDS, len(MACHINES))):
            operator.append(*MACHINES, seconds=chance.choice((0.0, 0.05, 0.3)))
            operator.listen(chance.uniform(0, 0.4))  # before it is sent, while it runs, or after it
            name, kill = next(victims)
            kill()
            killed[name] += 1
        operator.wait_until_accepted()
        fleet.machines["alpha"].process.kill()
        fleet.wait_until_presence("alpha", "offline")
        late = {each.id for each in _orders(operator.append("alpha", seconds=0, lifetime_seconds=1.0))}
        operator.wait_until_accepted()
        operator.listen(1.2)  # it expires by the real clock
        fleet.machines["alpha"].process.start()
        states = wait_until(lambda: _ended(fleet), seconds=120, what="the end of every command")
        operator.say_again()
        fleet.broker.kill()
        fleet.broker.start()
        fleet.wait_until_present()
        fleet.flows()
        assert _ended(fleet) == states  # nothing that was said again made or changed a command
    ran = Counter(file.read_text().split())
    sent = {order.id for request in operator.sent for order in _orders(request)}
    outcomes = Counter(reason or state for state, reason in states.values())
    say(f"{broker} and {database}: {len(sent)} commands, kills {dict(killed)}: {dict(outcomes)}, 0 twice")
    assert set(states) == sent
    assert set(ran.values()) <= {1}
    assert not set(ran) & late
    for id_, (state, reason) in states.items():
        if id_ in late:
            assert state == "expired", (state, reason)
        else:
            assert (state, reason) in (("succeeded", ""), ("failed", "interrupted")), (state, reason)
            assert ran[id_] == 1 or reason == "interrupted"


@pytest.mark.parametrize(("broker", "database"), STACKS)
@pytest.mark.parametrize("pause", [0.6] if SCALE is SHORT else [0.0, 0.3, 0.6])
def test_three_agents_restart_once_each_though_the_broker_restarts_in_between(
    tmp_path: Path, broker: str, database: str, pause: float
) -> None:
    with acting(tmp_path, broker, database) as (fleet, operator, _):
        processes = [machine.process for machine in fleet.machines.values()]
        before = [process.pid for process in processes]
        operator.send("restart", *MACHINES)
        operator.wait_until_accepted()
        operator.listen(pause)
        fleet.broker.kill()
        fleet.broker.start()
        states = wait_until(lambda: _ended(fleet), seconds=60, what="the end of every restart")
        assert list(states.values()) == [("succeeded", "")] * len(MACHINES)
        for _ in range(2):  # nothing of it is delivered again
            operator.say_again()
            fleet.broker.kill()
            fleet.broker.start()
            fleet.wait_until_present()
            fleet.flows()
        assert _ended(fleet) == states
        assert [process.pid for process in processes] == before
        assert [process.output.count(b"ready: ") for process in processes] == [2] * len(MACHINES)


def _ended(fleet: Fleet) -> dict[str, tuple[str, str]]:
    """State and reason of every command; nothing while one has not ended."""
    found = _states(fleet)
    return found if all(state in FINAL for state, _ in found.values()) else {}


def _states(fleet: Fleet) -> dict[str, tuple[str, str]]:
    query = select(tables.command.c.id, tables.command.c.state, tables.command.c.reason)
    with fleet.engine.connect() as connection:
        return {row.id: (row.state, row.reason) for row in connection.execute(query)}


def _orders(request: Request) -> list[Order]:
    assert isinstance(request.change, Act)
    return [Order.model_validate_json(signed.statement) for signed in request.change.orders]


def _now() -> int:
    return time.time_ns() // 1_000_000
