"""Broker and ingestor are killed in the same moment, as by a crash of their machine."""

from cli.drill.drill import Drill
from cli.drill.site import DrillSite


def _strike(site: DrillSite) -> None:
    site.kill("broker", "ingestor")
    site.wait(site.seconds)
    site.start("broker")
    site.start("ingestor")


DRILL = Drill(
    "server-killed", "Broker and ingestor are killed together, and started again some seconds later.", _strike
)
