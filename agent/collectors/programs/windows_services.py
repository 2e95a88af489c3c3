"""Services of Windows."""

from typing import Any

import psutil

from agent.collector import DetailCollector, Details, Item
from agent.host.selection import Selection
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import Judgement


class WindowsServices(DetailCollector):
    """Services that start automatically and do not run, and all that match the setting `services`."""

    facts = ("services",)
    timeout_seconds = 10.0
    needs = "Windows"
    cost = "100 ms"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._selection = Selection(settings.services)

    def present(self) -> bool:
        """Return True on Windows."""
        return hasattr(psutil, "win_service_iter")

    def collect(self) -> Details:
        """Return the stopped and the chosen services, those that should run and do not first."""
        chosen: dict[str, Item] = {}
        for service in psutil.win_service_iter():  # type: ignore[attr-defined, unused-ignore]
            try:
                found: dict[str, Any] = service.as_dict()
            except psutil.Error:  # removed while it was read
                continue
            name, state, start = str(found["name"]), str(found["status"]), str(found["start_type"])
            stopped = start == "automatic" and state == "stopped"
            if stopped or self._selection.names(name):
                health: Judgement | None = "fair" if stopped else "good" if state == "running" else None
                fields = {"state": state, "start": start, "title": str(found.get("display_name") or "")}
                chosen[name] = Item(fields, health)
        order = sorted(chosen, key=lambda name: (chosen[name].health != "fair", name))
        return Details(facts={"services": {name: chosen[name] for name in order}})
