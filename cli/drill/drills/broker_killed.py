"""The broker is killed."""

from cli.drill.drill import Drill
from cli.drill.site import DrillSite


def _strike(site: DrillSite) -> None:
    site.kill("broker")
    site.wait(site.seconds)
    site.start("broker")


DRILL = Drill("broker-killed", "The broker is killed (SIGKILL), and started again some seconds later.", _strike)
