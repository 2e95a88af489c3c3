"""The ingestor is killed."""

from cli.drill.drill import Drill
from cli.drill.site import DrillSite


def _strike(site: DrillSite) -> None:
    site.kill("ingestor")
    site.wait(site.seconds)
    site.start("ingestor")


DRILL = Drill("ingestor-killed", "The ingestor is killed (SIGKILL), and started again some seconds later.", _strike)
