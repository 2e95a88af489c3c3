"""Pending updates."""

from agent.collector import DetailCollector, Details, Item
from agent.host.package_managers import PackageManager, PendingUpdate, package_manager, reboot_required
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import FactValue, Judgement
from schemas.contract.messages import Metric


class Updates(DetailCollector):
    """Updates that the package manager has in its cache, those for security first, and whether a reboot is required.

    The cache is as old as `cached_at` in the facts says; nothing is downloaded. Only apt tells which updates are for
    security.
    """

    metrics = (
        Metric(name="pending_updates_count", unit="packages", title="Pending updates", device="package manager"),
        Metric(name="security_updates_count", unit="packages", title="Security updates", device="package manager"),
    )
    facts = ("updates", "packages")
    interval_seconds = 900.0
    first_after_seconds = 120.0
    timeout_seconds = 90.0
    needs = "apt, dnf, apk or pacman"
    cost = "1 s, two minutes after the start and after each change of the cache or of the packages"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._changed_at: tuple[float, ...] = ()
        self._pending: list[PendingUpdate] = []

    def present(self) -> bool:
        """Return True if there is a package manager that is known here."""
        return package_manager() is not None

    def collect(self) -> Details:
        """Return the pending updates. Raises OSError if the package manager fails."""
        manager = package_manager()
        if manager is None:
            return Details()
        changed_at = manager.changed_at
        if changed_at != self._changed_at:
            self._pending = manager.pending()
            self._changed_at = changed_at
        return _details(manager, self._pending)


def _details(manager: PackageManager, pending: list[PendingUpdate]) -> Details:
    name, details = manager.program.removesuffix("-get"), Details()
    security = sum(each.security for each in pending)
    details.add(name, pending_updates_count=len(pending))
    summary: dict[str, FactValue] = {"pending_count": len(pending), "reboot_required": reboot_required()}
    if manager.knows_security:
        details.add(name, security_updates_count=security)
        summary["security_count"] = security
    if manager.cached_at is not None:
        summary["cached_at"] = int(manager.cached_at * 1000)
    health: Judgement = "fair" if security or summary["reboot_required"] else "good"
    details.facts["updates"] = {name: Item({field: x for field, x in summary.items() if x is not None}, health)}
    details.facts["packages"] = {
        each.package: Item(
            {"installed": each.installed, "available": each.available, "security": each.security},
            "fair" if each.security else None,
        )
        for each in sorted(pending, key=lambda each: (not each.security, each.package))
    }
    return details
