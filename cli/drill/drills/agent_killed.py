"""An agent is killed, twice."""

from cli.drill.drill import Drill
from cli.drill.site import DrillSite


def _strike(site: DrillSite) -> None:
    for _ in range(2):
        site.kill("agent")
        site.wait(site.seconds / 3)
        site.start("agent")
        site.wait(site.seconds / 3)


DRILL = Drill("agent-killed", "The agent of the real machine is killed (SIGKILL) twice, and started again.", _strike)
