"""How long DashFleet itself adds to a command: from the request to the update that says what came of it.

Real processes: the embedded broker, the ingestor on SQLite, and machines that answer at once. `make bench` measures for
five minutes; inside `make test` a short time shows that nothing takes much longer than it should.
"""

import os
import statistics
import sys
import time
from pathlib import Path

from acting import Operator, order_of
from clocks import Clock
from faults.fleet import ORG, SECRET, running_fleet
from faults.processes import Process
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Connected, Message
from ingestor.admin.access import add_principal
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.commands import Update

SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3"))
MACHINES = 500
MEDIAN_MOST_SECONDS = 0.25
"""Ten times what it takes on a machine with nothing else to do: the tests run on busy ones."""

MOST_SECONDS = 3.0


class Now(Clock):
    """The real time, where a test's clock is asked for."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


def test_a_command_comes_back_soon(tmp_path: Path) -> None:
    operator = Operator(Now(), org=ORG)
    with running_fleet(tmp_path) as fleet:
        for principal in (operator.principal, *(Principal(Role.MACHINE, ORG, f"m{i}") for i in range(MACHINES))):
            add_principal(fleet.engine, principal, SECRET, now=operator.clock.now)
        fleet.start_server()
        script = Path(__file__).parent / "answering_machines.py"
        argv = [sys.executable, str(script), str(fleet.port), str(MACHINES)]
        machines = Process("machines", argv, ready="ready: ", log=tmp_path / "machines.log")
        machines.start()
        try:
            there = {f"m{i}" for i in range(MACHINES)}
            wait_until(
                lambda: {name for name, row in fleet.look().items() if row["presence"] == "online"} == there,
                seconds=60,
                what="all machines online",
            )
            took = round_trips(operator, fleet.port)
        finally:
            machines.stop()
    took.sort()
    median, slow = statistics.median(took), took[len(took) * 99 // 100]
    print(f"\n{len(took)} commands, {MACHINES} machines: request to recorded result's update, in milliseconds")
    print(f"median {1000 * median:.1f}   99 % {1000 * slow:.1f}   most {1000 * took[-1]:.1f}")
    assert median <= MEDIAN_MOST_SECONDS
    assert slow <= MOST_SECONDS


def round_trips(operator: Operator, port: int) -> list[float]:
    """One command after the other, each to another machine, for the time of the benchmark."""
    client = Mqtt(
        ServerAddress(host="127.0.0.1", port=port, tls=False),
        username=operator.principal.username,
        password=SECRET,
        subscriptions=[(topics.UPDATE.at(org=ORG, principal=operator.level), 1)],
    )
    wait_until(lambda: any(isinstance(event, Connected) for event in client.receive(10, 0.1)), what="the connection")
    took: list[float] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        order = operator.order(machine=f"m{7 * len(took) % MACHINES}")
        request = operator.act(order)
        start = time.perf_counter()
        assert client.publish(request)
        wait_for_success(client, order_of(order).id)
        took.append(time.perf_counter() - start)
        client.receive(100, 0.01 * (len(took) % 5))  # another moment of the ingestor's step each time
    client.close()
    return took


def wait_for_success(client: Mqtt, id_: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for event in client.receive(100, 1.0):
            if isinstance(event, Message):
                update = Update.decode(event.payload)
                if update.command == id_ and update.state == "succeeded":
                    return
    raise AssertionError("no result within ten seconds")
