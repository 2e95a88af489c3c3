"""The processes that use most."""

from time import monotonic

from agent.collector import DetailCollector, Details, Item
from agent.host.process_table import command_line
from agent.host.top_processes import ProcessWatch, TopProcess
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import FactValue

BUSY_PERCENT = 80.0
"""Load of all processors above which the list is kept."""

BUSY_CORE_PERCENT = 90.0
"""Load of one processor by one process above which the list is kept."""

RENEW_SECONDS = 900.0


class TopProcesses(DetailCollector):
    """The five processes that use most of the processors, of the memory and of the disks.

    The list is renewed at peaks: when the processors or one process are busy while other processes lead than before,
    and every 15 minutes while that lasts. So it names what caused the last peak. Arguments are left out, since they may
    contain passwords, unless the setting `process_arguments` is on.
    """

    facts = ("processes",)
    interval_seconds = 60.0
    timeout_seconds = 5.0
    needs = "Linux, macOS, FreeBSD or Windows; root to see the disk use of other users' processes"
    cost = "50 ms for 3,000 processes"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._watch = ProcessWatch()
        self._kept: dict[str, Item] = {}
        self._kept_at = 0.0
        self._leaders: frozenset[int] | None = None
        """Numbers of the busy processes; None while there is no peak."""

    def present(self) -> bool:
        """Return True everywhere."""
        return True

    def collect(self) -> Details:
        """Return the list of the last peak, or of the start if there was none."""
        top = self._watch.top()
        if self._is_news(top):
            self._kept = {f"{each.name} {each.pid}": self._described(each) for each in top}
            self._kept_at = monotonic()
        return Details(facts={"processes": self._kept})

    def _is_news(self, top: list[TopProcess]) -> bool:
        busy = self._watch.machine_percent >= BUSY_PERCENT or any(each.cpu_percent >= BUSY_CORE_PERCENT for each in top)
        leaders = frozenset(each.pid for each in top if each.cpu_percent >= BUSY_CORE_PERCENT / 2)
        before, self._leaders = self._leaders, leaders if busy else None
        if not busy:
            return not self._kept
        return before is None or not leaders <= before or monotonic() - self._kept_at >= RENEW_SECONDS

    def _described(self, process: TopProcess) -> Item:
        fields: dict[str, FactValue] = {
            "name": process.name,
            "pid": process.pid,
            "cpu_percent": process.cpu_percent,
            "memory_bytes": process.memory_bytes,
        }
        if process.disk_bytes_per_second is not None:
            fields["disk_bytes_per_second"] = round(process.disk_bytes_per_second)
        if self.settings.process_arguments:
            fields["command_line"] = command_line(process.pid)
        return Item(fields)
