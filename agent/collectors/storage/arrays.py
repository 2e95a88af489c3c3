"""Arrays of disks: Linux software RAID and ZFS pools."""

import re
from collections.abc import Iterator
from pathlib import Path

from agent.collector import DetailCollector, Details, Item
from agent.host.small_files import read_text
from schemas.contract.facts import FactValue, Judgement

MDSTAT = Path("/proc/mdstat")
POOLS = Path("/proc/spl/kstat/zfs")
_ARRAY = re.compile(r"^(md\S+) : (\S+)(?: \([^)]*\))?(?: (raid\d+|linear|jbod))?(.*)$", re.MULTILINE)
_DISKS = re.compile(r"\[(\d+)/(\d+)\] \[[U_]+\]")
_ACTION = re.compile(r"\b(recovery|resync|reshape|check)\s*=")
_FAILED = re.compile(r"(\S+)\[\d+\]\(F\)")
_OF_POOL: dict[str, Judgement] = {"ONLINE": "good", "DEGRADED": "critical", "FAULTED": "critical"}


class Arrays(DetailCollector):
    """State of each array: one that has lost a disk is critical, although its data can still be read."""

    facts = ("arrays",)
    needs = "Linux with software RAID or ZFS"

    def present(self) -> bool:
        """Return True if there is an array."""
        return bool(_ARRAY.search(read_text(MDSTAT))) or next(POOLS.glob("*/state"), None) is not None

    def collect(self) -> Details:
        """Return the arrays, those that have lost a disk first."""
        found = dict((*_of_linux(), *_of_zfs()))
        order = sorted(found, key=lambda name: (found[name].health == "good", name))
        return Details(facts={"arrays": {name: found[name] for name in order}})


def _of_linux() -> Iterator[tuple[str, Item]]:
    text = read_text(MDSTAT)
    matches = list(_ARRAY.finditer(text))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        name, state, level, members = match.groups()
        body = text[match.end() : following.start() if following else len(text)]
        disks, action, failed = _DISKS.search(body), _ACTION.search(body), _FAILED.findall(members)
        missing = int(disks[1]) - int(disks[2]) if disks else 0
        fields: dict[str, FactValue] = {
            "state": "degraded" if missing else state,
            "level": level,
            "disk_count": int(disks[1]) if disks else None,
            "missing_count": missing if disks else None,
            "action": action[1] if action else None,
            "failed_disks": ", ".join(failed) or None,
        }
        health: Judgement = "critical" if missing or failed or state != "active" else "good"
        yield name, Item({field: value for field, value in fields.items() if value is not None}, health)


def _of_zfs() -> Iterator[tuple[str, Item]]:
    for file in POOLS.glob("*/state"):
        state = read_text(file)
        yield file.parent.name, Item({"state": state.lower(), "level": "zfs"}, _OF_POOL.get(state, "critical"))
