"""Batteries."""

from pathlib import Path

from agent.collector import DetailCollector, Details, Item
from agent.host.small_files import read_number, read_text
from schemas.contract.facts import FactValue
from schemas.contract.messages import Metric

SUPPLIES = Path("/sys/class/power_supply")


class Batteries(DetailCollector):
    """Charge of each battery of the machine, not of its mouse; and whether the machine runs on it."""

    metrics = (Metric(name="battery_percent", unit="percent", title="Battery", device="battery"),)
    facts = ("batteries",)
    needs = "Linux with a battery"

    def present(self) -> bool:
        """Return True if there is a battery."""
        return any(map(_is_battery, SUPPLIES.glob("*")))

    def collect(self) -> Details:
        """Return the charge and the condition of each battery."""
        details = Details(facts={"batteries": {}})
        for supply in sorted(filter(_is_battery, SUPPLIES.glob("*"))):
            charge = read_number(supply / "capacity")
            details.add(supply.name, battery_percent=None if charge is None else min(100, max(0, charge)))
            fields: dict[str, FactValue] = {
                "state": read_text(supply / "status").lower() or None,
                "condition_percent": _condition(supply),
                "cycle_count": read_number(supply / "cycle_count") or None,
                "model": read_text(supply / "model_name") or None,
            }
            details.facts["batteries"][supply.name] = Item({name: x for name, x in fields.items() if x is not None})
        return details


def _is_battery(supply: Path) -> bool:
    return read_text(supply / "type") == "Battery" and read_text(supply / "scope") != "Device"


def _condition(supply: Path) -> int | None:
    """Return the capacity that is left of the design's, in percent."""
    for unit in ("energy", "charge"):
        full, design = read_number(supply / f"{unit}_full"), read_number(supply / f"{unit}_full_design")
        if full and design and full > 0 and design > 0:
            return min(100, round(100 * full / design))
    return None
