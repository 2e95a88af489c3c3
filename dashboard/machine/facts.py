"""The facts on the machine page: title, vitals, ledger, inventory, presence events. Pure."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from sqlalchemy import Row

from dashboard.fleet import rows as fleet_rows
from dashboard.i18n import text
from dashboard.i18n.language import _, ngettext, pgettext
from dashboard.machine.charts import ExtraMetric
from dashboard.widgets import charts, markup
from schemas.contract.org_config import Component, Thresholds
from schemas.fleet.health import DEFAULT_THRESHOLDS
from schemas.fleet.ledger import Ledger

_CLOCK_TOLERANCE_MILLISECONDS: Final = 2000


def title(row: Row[Any]) -> str:
    """Return the page's title: the machine's name with its presence."""
    word, why = fleet_rows.status(row, row.since_at or 0)
    return markup.title(row.hostname or row.name, word, why)


def subtitle(row: Row[Any], now: int) -> str:
    """Return one line: presence with its reason and duration, system, agent version, uptime."""
    since = text.duration((now - row.since_at) / 1000) if row.since_at else ""
    presence = _presence(text.presence(row.presence).label, since, text.reason(row.reason or "")) if since else ""
    system = " ".join(part for part in (row.os, row.os_version) if part)
    agent = _("agent {version}", version=row.agent_version) if row.agent_version else ""
    up = _("up {length}", length=text.duration(row.uptime_seconds)) if row.uptime_seconds is not None else ""
    return " · ".join(part for part in (presence, system, agent, up) if part)


def vitals(
    row: Row[Any], extras: Sequence[ExtraMetric], thresholds: Thresholds | None, recent: Sequence[Mapping[str, Any]]
) -> str:
    """Return the present readings. `recent` are the last samples, for the rates of counters."""
    limits = thresholds or DEFAULT_THRESHOLDS
    info: Mapping[str, Any] = row.info or {}

    def usage(label: str, detail: str, percent: float | None, component: Component) -> str:
        tone = fleet_rows.tone(percent, component, limits)
        return markup.gauge(label, text.percent(percent), detail, percent or 0, tone)

    word = text.health(row.health_status)
    score = text.UNKNOWN if row.health_score is None else str(row.health_score)
    memory, disk = _of(row.memory_used_bytes, info, "memory"), _of(row.disk_used_bytes, info, "disk")
    pieces = [
        markup.gauge(_("Health"), score, word.label, row.health_score, word.tone),
        usage(_("CPU"), _cores(info), row.cpu_percent, limits.cpu),
        usage(_("Memory"), memory, row.memory_percent, limits.memory),
        usage(_("Disk"), disk, row.disk_percent, limits.disk),
    ]
    return markup.gauges(pieces) + markup.gauges([*_readings(row, extras), *_traffic(recent, row)], small=True)


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


def events(rows: Sequence[Row[Any]], now: int, zone: tzinfo) -> list[tuple[str, text.Word, str]]:
    """Return changes of presence as lines of a timeline."""
    return [
        (text.moment(row.at, now, zone), text.presence(row.after), text.transition_reason(row.reason, row.times))
        for row in rows
    ]


def _presence(word: str, length: str, why: str) -> str:
    if why:
        return _("{presence} for {length}: {why}", presence=word, length=length, why=why)
    return _("{presence} for {length}", presence=word, length=length)


def _readings(row: Row[Any], extras: Sequence[ExtraMetric]) -> list[str]:
    readings = [
        (_("Load, 1 min"), None if row.load_1m is None else text.fixed(row.load_1m, 2)),
        (_("Processes"), None if row.process_count is None else text.count(row.process_count)),
        (_("Swap"), None if row.swap_percent is None else text.percent(row.swap_percent)),
        (
            _("Temperature"),
            None if row.temperature_celsius is None else text.quantity(round(row.temperature_celsius), "celsius"),
        ),
    ]
    values: Mapping[str, Any] = row.extra or {}
    readings += [
        (metric.title, text.quantity(values[metric.name], metric.unit))
        for metric in extras
        if values.get(metric.name) is not None
    ]
    return [markup.gauge(name, shown) for name, shown in readings if shown is not None]


def _traffic(recent: Sequence[Mapping[str, Any]], row: Row[Any]) -> list[str]:
    pieces = []
    for title, counter in (
        (pgettext("network", "Received"), "network_received_bytes"),
        (pgettext("network", "Sent"), "network_sent_bytes"),
    ):
        points = charts.rates(recent, counter, spacing=1000 * (row.interval_seconds or 1))
        if points and points[-1][1] is not None:
            pieces.append(markup.gauge(title, text.byte_rate(points[-1][1])))
    return pieces


def _cores(info: Mapping[str, Any]) -> str:
    count = info.get("cpu_count")
    return ngettext("{n} core", "{n} cores", int(count)) if count else ""


def _of(used: int | None, info: Mapping[str, Any], part: str) -> str:
    total = info.get(f"{part}_total_bytes")
    return _("{used} of {total}", used=text.size(used), total=text.size(total)) if used is not None and total else ""


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
