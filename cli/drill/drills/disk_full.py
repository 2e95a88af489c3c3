"""The disks of the server and of an agent are full: no file of theirs can grow or be written."""

from cli.drill.drill import Drill
from cli.drill.site import DrillSite
from runtime.errors import UserError

PARTS = ("ingestor", "agent")


def _strike(site: DrillSite) -> None:
    try:
        from resource import RLIMIT_FSIZE, prlimit
    except ImportError:
        raise UserError("the drill disk-full limits files of other processes, which only Linux permits") from None
    before = {part: prlimit(site.pid(part), RLIMIT_FSIZE) for part in PARTS}
    for part, (_soft, hard) in before.items():
        prlimit(site.pid(part), RLIMIT_FSIZE, (0, hard))
    site.wait(site.seconds)
    for part, limits in before.items():
        prlimit(site.pid(part), RLIMIT_FSIZE, limits)


DRILL = Drill(
    "disk-full", "For some seconds no file of the ingestor and of the real machine's agent can be written.", _strike
)
