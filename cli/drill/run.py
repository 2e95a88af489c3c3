"""A run of a drill: an installation that works, the fault, the return, and the account of every sample.

Invariants:
- A sample counts as kept only if it is in the database; the machines' own account says what there was to keep.
- A drill fails when a sample is lost, dropped or rejected, or when a machine is not back within BACK_SECONDS.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from cli.drill.drill import Drill
from cli.drill.site import MACHINE, DrillSite
from cli.options import CLOCK
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from agent.simulation.machine import SimulationPlan
    from agent.simulation.summary import SimulationSummary

ORG = "simulation"
START_SECONDS = 4.0
"""Time until all machines are connected."""

BACK_SECONDS = 90.0
"""Longest time after the fault until every machine is online again."""

SETTLE_SECONDS = 30.0
"""Longest time until the agent's outbox is empty."""


@dataclass(frozen=True, slots=True)
class DrillReport:
    """Account of a drill: kept and lost samples.

    `taken`: by all machines. `stored`: in the database, `late` of them as backfill; `duplicates`: arrived again.
    `dropped`: by agents without room. `lost`: taken, and neither stored nor dropped nor rejected. `back_seconds`: time
    from the end of the fault until every machine was online and heard again, None if some was not.
    """

    drill: str
    title: str
    machines: int
    taken: int
    stored: int
    late: int
    duplicates: int
    dropped: int
    rejected: int
    lost: int
    back_seconds: float | None

    @property
    def passed(self) -> bool:
        """Whether nothing was lost and every machine came back."""
        return self.back_seconds is not None and not self.lost + self.dropped + self.rejected


def run_drill(
    drill: Drill, *, machines: int, interval_seconds: float, seconds: float, say: Callable[[str], None]
) -> DrillReport:
    """Run a drill with a fault of about `seconds` in a temporary directory.

    Raises UserError if the installation does not start.
    """
    from ingestor.admin.simulation import provision_simulated
    from schemas.database.engine import open_engine

    with TemporaryDirectory(prefix="dashfleet-drill-") as directory:
        site = DrillSite(Path(directory), interval_seconds=interval_seconds, seconds=seconds)
        with site.running():
            engine = open_engine(site.state.database_url)
            try:
                plan = _plan(site, drill, machines, interval_seconds)
                secret = provision_simulated(engine, ORG, plan.names, now=CLOCK.now)
                return _Run(site, drill, engine, plan.model_copy(update={"secret": secret}), say).report()
            finally:
                engine.dispose()


class _Run:
    """The machines of one run, and what the database says of them."""

    def __init__(
        self, site: DrillSite, drill: Drill, engine: "Engine", plan: "SimulationPlan", say: Callable[[str], None]
    ) -> None:
        self._site = site
        self._drill = drill
        self._engine = engine
        self._plan = plan
        self._say = say
        self._summaries: list[SimulationSummary] = []
        self._failures: list[UserError] = []

    def report(self) -> DrillReport:
        """Run the simulation, strike, and account for everything."""
        from agent.simulation.processes import wait_for_admission

        wait_for_admission(self._plan)
        simulating = Thread(target=self._simulate, name="simulation")
        simulating.start()
        try:
            self._wait_until(self._all_online, BACK_SECONDS)
            self._site.wait(self._site.seconds / 2)
            self._say(f"{self._drill.name}: {self._drill.title}")
            self._drill.strike(self._site)
            ended_at, began = CLOCK.now(), time.monotonic()
            is_back = self._wait_until(lambda: self._all_online(ended_at), BACK_SECONDS)
            back = round(time.monotonic() - began, 1) if is_back else None
        finally:
            simulating.join()
        if self._failures:
            raise self._failures[0]
        self._wait_until(self._is_settled, SETTLE_SECONDS)
        return self._account(self._summaries[0], back)

    def _simulate(self) -> None:
        from agent.simulation.processes import run_processes

        try:
            self._summaries.append(run_processes([self._plan], lambda _counts: None))
        except UserError as error:
            self._failures.append(error)

    def _machines(self) -> list[dict[str, Any]]:
        from schemas.database.queries.machines import list_machines

        return list_machines(self._engine)

    def _all_online(self, heard_since: int = 0) -> bool:
        found = [each for each in self._machines() if each["last_seen"] is not None]
        return len(found) == self._plan.machines + 1 and all(
            each["presence"] == "online" and each["verified"] and each["last_seen"] >= heard_since for each in found
        )

    def _real_ledger(self) -> dict[str, int]:
        return next((each["ledger"] for each in self._machines() if each["machine"] == MACHINE), {})

    def _is_settled(self) -> bool:
        ledger = self._real_ledger()
        return ledger["stored"] == ledger["expected"]

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._site.wait(0.2)
        return True

    def _account(self, summary: "SimulationSummary", back_seconds: float | None) -> DrillReport:
        ledgers = [each["ledger"] for each in self._machines() if each["machine"] != MACHINE]
        real = self._real_ledger()
        total = {name: sum(each[name] for each in [*ledgers, real]) for name in real}
        taken = summary.taken + real["expected"]
        dropped, rejected = summary.dropped + real["dropped"], summary.rejected + real["rejected"]
        return DrillReport(
            drill=self._drill.name,
            title=self._drill.title,
            machines=self._plan.machines + 1,
            taken=taken,
            stored=total["stored"],
            late=total["late"],
            duplicates=total["duplicate"],
            dropped=dropped,
            rejected=rejected,
            lost=taken - total["stored"] - dropped - rejected,
            back_seconds=back_seconds,
        )


def _plan(site: DrillSite, drill: Drill, machines: int, interval_seconds: float) -> "SimulationPlan":
    from agent.simulation.faults import Faults
    from agent.simulation.machine import SimulationPlan

    return SimulationPlan(
        server=site.server,
        org=ORG,
        machines=machines,
        interval_seconds=interval_seconds,
        duration_seconds=START_SECONDS + 4 * site.seconds,
        faults=Faults.parse(drill.faults),
    )
