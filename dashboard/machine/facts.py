"""The facts on the machine page: title, ledger, inventory. Pure."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

from sqlalchemy import Row

from dashboard.fleet import rows as fleet_rows
from dashboard.i18n import text
from dashboard.i18n.language import _
from dashboard.widgets import markup
from schemas.fleet.ledger import Ledger
from schemas.fleet.machine_name import machine_name

_CLOCK_TOLERANCE_MILLISECONDS: Final = 2000


def title(row: Row[Any]) -> str:
    """Return the page's title: the machine's name with its presence."""
    word, why = fleet_rows.status(row, row.since_at or 0)
    return markup.title(machine_name(row.name, row.hostname), word, why)


def subtitle(row: Row[Any], now: int) -> str:
    """Return one line: presence with its reason and duration, system, agent version, uptime."""
    since = text.duration((now - row.since_at) / 1000) if row.since_at else ""
    presence = _presence(text.presence(row.presence).label, since, text.reason(row.reason or "")) if since else ""
    system = " ".join(part for part in (row.os, row.os_version) if part)
    agent = _("agent {version}", version=row.agent_version) if row.agent_version else ""
    uptime = row.uptime_seconds if row.current else None
    up = _("up {length}", length=text.duration(uptime)) if uptime is not None else ""
    return " · ".join(part for part in (presence, system, agent, up) if part)


def ledger(found: Ledger) -> list[tuple[str, str]]:
    """Return the account of the machine's samples: expected = stored + lost + buffered + dropped + rejected."""
    facts = [
        (_("Expected"), found.expected),
        (_("Stored"), found.stored),
        (_("Backfilled"), found.late),
        (_("Lost"), found.lost),
        (_("Buffered on agent"), found.waiting),
        (_("Dropped by agent"), found.dropped),
        (_("Rejected"), found.rejected),
        (_("Duplicates"), found.duplicate),
    ]
    return [(name, text.count(number)) for name, number in facts]


def inventory(row: Row[Any], now: int, zone: tzinfo) -> list[tuple[str, str]]:
    """Return what the machine is, as its agent reports it."""
    info: Mapping[str, Any] = row.info or {}
    facts = [
        (_("Machine id"), row.name),
        (_("Hostname"), row.hostname),
        (_("System"), " ".join(part for part in (row.os, row.os_version) if part)),
        (_("Architecture"), info.get("architecture")),
        (_("Processor"), info.get("cpu_model")),
        (_("Cores"), info.get("cpu_count")),
        (_("Memory"), _size(info.get("memory_total_bytes"))),
        (_("Swap"), _size(info.get("swap_total_bytes"))),
        (_("Disk"), _disk(info)),
        (_("Agent"), row.agent_version),
        (_("Python"), info.get("python_version")),
        (_("Interval"), text.duration(row.interval_seconds) if row.interval_seconds else None),
        (_("Clock"), _clock(row.clock_offset_milliseconds)),
        (_("Last seen"), text.moment(row.last_seen_at, now, zone) if row.last_seen_at else None),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _presence(word: str, length: str, why: str) -> str:
    if why:
        return _("{presence} for {length}: {why}", presence=word, length=length, why=why)
    return _("{presence} for {length}", presence=word, length=length)


def _disk(info: Mapping[str, Any]) -> str | None:
    """Return the size of the disk, with the path that is measured unless that is the root."""
    size, path = _size(info.get("disk_total_bytes")), info.get("disk_path")
    return f"{size} ({path})" if size and path not in (None, "/") else size


def _size(value: int | None) -> str | None:
    return None if value is None else text.size(value)


def _clock(offset: int | None) -> str | None:
    if offset is None:
        return None
    if abs(offset) < _CLOCK_TOLERANCE_MILLISECONDS:
        return _("in sync")
    length = text.duration(abs(offset) / 1000)
    if offset > 0:
        return _("{length} behind (times here are corrected)", length=length)
    return _("{length} ahead (times here are corrected)", length=length)
