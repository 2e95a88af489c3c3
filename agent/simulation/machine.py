"""A simulated machine: a real agent on a real connection, with a queue in memory and made-up readings.

Invariant: restarts, reboots and cuts lose no sample; the queue goes on with the machine's next agent.
"""

import random
import secrets
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agent.agent import Agent
from agent.session_counter import SessionCounter
from agent.simulation.faults import Faults, FaultTimes
from agent.simulation.link import SimulatedLink
from agent.simulation.memory_queue import MemoryQueue
from agent.simulation.readings import SimulatedReadings
from runtime.clock import Clock
from runtime.settings.address import ServerAddress
from runtime.settings.agent import AgentSettings
from runtime.version import VERSION
from schemas.contract.messages import Info

_SITES = ("berlin", "lyon", "nantes", "osaka", "porto", "quito")
_SYSTEMS = (("Debian GNU/Linux", "12"), ("Ubuntu", "24.04"), ("Alpine Linux", "3.20"), ("Windows", "11"))


class SimulationPlan(BaseModel):
    """The part of a simulation that one process runs: machines `prefix` + number from `first` on, with one secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str
    ca_file: Path | None = None
    org: str = ""
    prefix: str = "sim-"
    first: int = Field(default=1, ge=1)
    machines: int = Field(default=1, ge=1)
    secret: str = Field(default="", repr=False)
    interval_seconds: float = Field(default=10.0, ge=0.1, le=3600)
    duration_seconds: float = Field(default=60.0, gt=0)
    connects_per_second: float = Field(default=200.0, gt=0)
    faults: Faults = Faults()

    @property
    def names(self) -> list[str]:
        """Names of the machines."""
        return [f"{self.prefix}{number:05d}" for number in range(self.first, self.first + self.machines)]


class WrongClock:
    """A clock that differs from another one by some milliseconds."""

    def __init__(self, clock: Clock, error: int) -> None:
        self.monotonic = clock.monotonic
        self._clock = clock
        self._error = error

    def now(self) -> int:
        """Return the wrong time in milliseconds."""
        return self._clock.now() + self._error


class MemorySessions(SessionCounter):
    """Session numbers of a machine that has no disk."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Path(), clock)

    def next(self) -> int:
        """Assign and return the number of the next connection."""
        self.current = max(self.current + 1, self._clock.now())
        return self.current

    def _read(self) -> int:
        return 0


class SimulatedMachine:
    """A machine of a plan. It is stepped by the caller, when it is due or when its socket is readable."""

    def __init__(self, plan: SimulationPlan, name: str, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        """Connections, refusals, lost messages, cuts, restarts and reboots so far."""
        self.due_at = clock.monotonic()
        self._plan, self._name = plan, name
        self._chance = random.Random(name)  # noqa: S311 - no secret
        self._clock = WrongClock(clock, round(1000 * self._chance.gauss(0, plan.faults.clock_error_seconds)))
        self._boot_id = secrets.token_hex(16)
        self._system = self._chance.choice(_SYSTEMS)
        self._labels = {"site": self._chance.choice(_SITES), "simulated": "yes"}
        self.queue = MemoryQueue(clock)
        self._readings = SimulatedReadings(name, self._clock)
        self._sessions = MemorySessions(self._clock)
        self._faults = FaultTimes(plan.faults, self._chance, clock.monotonic())
        self._settings = AgentSettings(
            data=Path(), org=plan.org, machine=name, server=plan.server, interval_seconds=plan.interval_seconds
        )
        self._fill_backlog()
        self._agent, self._link = self._start()

    @property
    def socket(self) -> Any:  # noqa: ANN401 - a socket, with TLS or without
        """The socket to watch; None without one."""
        return self._link.socket

    @property
    def connected(self) -> bool:
        """True while the broker is connected."""
        return self._link.connected

    def step(self) -> None:
        """Let the agent work, and do the faults that are due."""
        self._agent.step()
        now = self._clock.monotonic()
        for kind in self._faults.take(now) if self._faults.due_at <= now else ():
            self.counts[kind] += 1
            if kind == "cut":
                self._link.cut(self._faults.outage_seconds())
            else:
                self._begin_again(is_boot=kind == "reboot")
        self.due_at = min(self._agent.due_at, self._link.due_at, self._faults.due_at)

    def hold_samples(self) -> None:
        """Take no more samples and have no more faults, so that the queue can empty.

        With losses the machine connects again, because an agent resends at once only then.
        """
        self._agent.hold_samples()
        self._link.heal()
        if self._plan.faults.loss and self.queue.waiting:
            self._link.cut(0.0)
        self._faults = FaultTimes(Faults(), self._chance, self._clock.monotonic())

    def stop(self) -> None:
        """Say goodbye and disconnect."""
        self._agent.stop()
        self._count_link()

    def _start(self) -> tuple[Agent, SimulatedLink]:
        links: list[SimulatedLink] = []

        def open_link(**options: Any) -> SimulatedLink:  # noqa: ANN401 - of OpenAgentTransport
            links.append(
                SimulatedLink(
                    ServerAddress.parse(self._plan.server),
                    username=f"{self._plan.org}.{self._name}",
                    password=self._plan.secret,
                    ca_file=self._plan.ca_file,
                    keep_alive_seconds=60,
                    loss=self._plan.faults.loss,
                    delay_seconds=self._plan.faults.delay_seconds,
                    chance=self._chance,
                    **options,
                )
            )
            return links[-1]

        made = Agent(
            self._settings,
            open_transport=open_link,
            outbox=self.queue,
            runner=self._readings,
            sessions=self._sessions,
            clock=self._clock,
            describe=partial(self._describe),
        )
        return made, links[-1]

    def _begin_again(self, *, is_boot: bool) -> None:
        """Start another agent on the same queue; after a boot without a goodbye and with a new stream."""
        if is_boot:
            self._link.cut(0.0)
            self.queue.reboot()
            self._readings.reboot()
            self._boot_id = secrets.token_hex(16)
        self._agent.stop("restarting")
        self._count_link()
        self._agent, self._link = self._start()

    def _count_link(self) -> None:
        self.counts["connections"] += self._link.connections
        self.counts["refusals"] += self._link.refusals
        self.counts["lost_messages"] += self._link.losses

    def _fill_backlog(self) -> None:
        missed = int(self._plan.faults.backlog_seconds / self._plan.interval_seconds)
        for number in range(missed, 0, -1):
            vitals, extra = self._readings.collect()
            self.queue.append(self._clock.now() - round(1000 * number * self._plan.interval_seconds), vitals, extra)

    def _describe(self, settings: AgentSettings, **more: Any) -> Info:  # noqa: ANN401 - the other fields of Info
        system, version = self._system
        return Info(
            hostname=f"{self._name}.simulated.invalid",
            boot_id=self._boot_id,
            os=system,
            os_version=version,
            architecture="x86_64",
            cpu_count=4,
            memory_total_bytes=self._readings.memory_total_bytes,
            disk_total_bytes=self._readings.disk_total_bytes,
            agent_version=VERSION,
            interval_seconds=settings.interval_seconds,
            labels=self._labels,
            **more,
        )
