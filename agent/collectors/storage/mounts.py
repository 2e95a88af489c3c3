"""Mounted file systems."""

from agent.collector import DetailCollector, Details, Item
from agent.host.calls.each_in_time import EachInTime
from agent.host.mount_table import Mount, MountUsage, each_device_once, mounts, usage_of
from agent.host.selection import Selection
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import FactValue
from schemas.contract.messages import Metric

STATVFS_SECONDS = 1.0


class Mounts(DetailCollector):
    """Local file systems, as `df` counts them: space reserved for root is neither used nor free; the fullest first.

    File systems of the network, of images, in memory and of containers are reported if the setting `mounts` names
    them. A bind mount is not reported beside its file system. One that does not answer has null readings.
    """

    metrics = (
        Metric(name="disk_used_percent", unit="percent", title="Disk", device="mount"),
        Metric(name="disk_used_bytes", unit="bytes", title="Disk used", device="mount"),
        Metric(name="disk_free_inodes", unit="inodes", title="Free inodes", device="mount"),
    )
    facts = ("mounts",)
    timeout_seconds = 10.0
    needs = "Linux, macOS or Windows"
    cost = "1 ms for 10 mounts; a dead network file system costs one waiting thread"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._selection = Selection(settings.mounts)
        self._usage = EachInTime(usage_of, STATVFS_SECONDS)

    def present(self) -> bool:
        """Return True everywhere: each machine has a file system."""
        return True

    def collect(self) -> Details:
        """Return usage and facts of each chosen mount."""
        chosen = [each for each in mounts() if self._selection.includes(each.point, default=each.is_local)]
        asked = [each for each in chosen if self._selection.names(each.point)]
        once = {each.point: each for each in (*asked, *each_device_once(chosen))}
        usage = self._usage(sorted(once))
        details = Details(facts={"mounts": {}})
        for point in sorted(once, key=lambda point: -_fullness(usage[point])):
            found = usage[point]
            if isinstance(found, MountUsage) and not found.total:
                continue  # has no size, such as /proc
            self._add(details, once[point], found)
        return details

    def _add(self, details: Details, mount: Mount, usage: MountUsage | OSError) -> None:
        fields: dict[str, FactValue] = {"file_system": mount.type, "device": mount.source, "read_only": mount.read_only}
        if isinstance(usage, OSError):
            state = "no answer" if isinstance(usage, TimeoutError) else usage.strerror or "cannot be read"
            details.add(mount.point, disk_used_percent=None, disk_used_bytes=None)
            details.facts["mounts"][mount.point] = Item({**fields, "state": state}, "critical")
            return
        details.add(mount.point, disk_used_percent=usage.percent, disk_used_bytes=usage.used)
        if usage.free_inodes is not None:
            details.add(mount.point, disk_free_inodes=usage.free_inodes)
        details.facts["mounts"][mount.point] = Item({**fields, "size_bytes": usage.total})


def _fullness(usage: MountUsage | OSError) -> float:
    return 101.0 if isinstance(usage, OSError) else usage.percent
