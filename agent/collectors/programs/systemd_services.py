"""Services of systemd."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from agent.collector import DetailCollector, Details, Item
from agent.host.calls.program import find_program, run_program
from agent.host.selection import Selection
from agent.host.service_manager import BOOTED
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import Judgement

LIST_SECONDS = 5.0
_CALL = (
    *("--system", "--json=short", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
    *("org.freedesktop.systemd1.Manager", "ListUnits"),
)
_JUDGEMENTS: dict[str, Judgement] = {"active": "good", "reloading": "good", "failed": "critical"}


class _Unit(NamedTuple):
    name: str
    title: str
    state: str
    sub_state: str

    @property
    def health(self) -> Judgement | None:
        """A finished oneshot service is inactive, and well."""
        return "fair" if self.sub_state == "auto-restart" else _JUDGEMENTS.get(self.state)


class SystemdServices(DetailCollector):
    """Units of systemd that have failed, and all services that match the setting `services`, the worst first.

    A service that the setting names without `*` and that is not loaded is in the list, too.
    """

    facts = ("services",)
    timeout_seconds = 8.0
    needs = "systemd with busctl 240 or later"
    cost = "10 ms, in the process busctl"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._selection = Selection(settings.services)

    def present(self) -> bool:
        """Return True where systemd runs."""
        return BOOTED.is_dir() and find_program("busctl") is not None

    def collect(self) -> Details:
        """Return the failed and the chosen units. Raises OSError if systemd does not answer."""
        found = {unit.name: unit for unit in _units()}
        chosen = {
            unit.name: Item({"state": unit.state, "sub_state": unit.sub_state, "title": unit.title}, unit.health)
            for unit in found.values()
            if unit.state == "failed" or (unit.name.endswith(".service") and self._selection.names(unit.name))
        }
        for name in self.settings.services:
            if not name.startswith("!") and not set("*?[") & set(name) and name not in found:
                chosen[name] = Item({"state": "not loaded"}, "fair")
        order = sorted(chosen, key=lambda name: (("critical", "fair", None, "good").index(chosen[name].health), name))
        return Details(facts={"services": {name: chosen[name] for name in order}})


def _units() -> Iterator[_Unit]:
    """Return all units, with one call: the units of a host are too many for a call each."""
    output = run_program([find_program("busctl") or "busctl", *_CALL], seconds=LIST_SECONDS)
    if output.code != 0:
        raise OSError(f"busctl ended with {output.code}")
    try:
        answer: Any = json.loads(output.text)["data"][0]
    except (ValueError, LookupError, TypeError):
        raise OSError("the answer of busctl cannot be read") from None
    for fields in answer if isinstance(answer, list) else ():
        if isinstance(fields, list) and len(fields) > 4 and all(isinstance(each, str) for each in fields[:5]):
            yield _Unit(fields[0], fields[1], fields[3], fields[4])
