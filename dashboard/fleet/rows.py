"""Rows, columns and cards of the fleet page, made of database rows. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Row

from dashboard.i18n import disk_outlook, text
from dashboard.i18n.language import Marked, _, kept_by_language, marked
from dashboard.i18n.text import Word
from dashboard.widgets import cells
from schemas.contract.org_config import Component, Thresholds
from schemas.database.queries.fleet_order import LABEL, RETIRED
from schemas.database.queries.machines import Counts, Filters
from schemas.fleet.health import DEFAULT_THRESHOLDS

ATTENTION: Final = "attention"
ALL: Final = "all"
TREND_MINUTES: Final = 30
"""How far back the CPU line of a row reaches."""

_ALWAYS_SHOWN: Final = ("online", "stale", "offline")
_GAP: Final = " "
"""In the points of a line: nothing was measured."""

_UNVERIFIED: Final = marked("Unverified: the ingestor could not listen, and has received no data since.")

Trend = Sequence[float | None]
"""CPU usage per minute, the oldest first, in percent; None where nothing was measured."""


@dataclass(frozen=True, slots=True)
class FleetColumn:
    """A column of the table. `falls`: the first click on its header sorts in descending order."""

    code: str
    label: Marked
    falls: bool = False
    sortable: bool = True


COLUMNS: Final = (
    FleetColumn("machine", marked("Machine")),
    FleetColumn("status", marked("Status")),
    FleetColumn("since", marked("Since"), falls=True),
    FleetColumn("health", marked("Health")),
    FleetColumn("cpu", marked("CPU"), falls=True),
    FleetColumn("trend", marked("{minutes} min"), sortable=False),
    FleetColumn("memory", marked("Memory"), falls=True),
    FleetColumn("disk", marked("Disk"), falls=True),
    FleetColumn("full", marked("Disk full")),
    FleetColumn("uptime", marked("Uptime"), falls=True),
    FleetColumn("seen", marked("Last seen"), falls=True),
    FleetColumn("labels", marked("Labels"), sortable=False),
    FleetColumn("system", marked("System")),
    FleetColumn("agent", marked("Agent")),
)

_LABELS_AT: Final = [column.code for column in COLUMNS].index("labels")


def columns(
    filters: Filters, label_keys: Sequence[str] = (), readings: Sequence[Mapping[str, str]] = ()
) -> list[dict[str, Any]]:
    """Return the table's header; `readings` and `label_keys` have a column each, before the other labels."""
    minutes = text.count(TREND_MINUTES)
    direction = "descending" if filters.descending else "ascending"
    header: list[dict[str, Any]] = [{"code": each.code, "label": _(each.label, minutes=minutes)} for each in COLUMNS]
    chosen = [*map(dict, readings), *({"code": f"{LABEL}{key}", "label": key} for key in label_keys)]
    sortable = {column.code for column in COLUMNS if column.sortable} | {column["code"] for column in chosen}
    header[_LABELS_AT:_LABELS_AT] = chosen
    for column in header:
        if column["code"] in sortable:
            column["sorted"] = direction if column["code"] == filters.order else "none"
    return header


def cards(counts: Counts, filters: Filters) -> list[dict[str, Any]]:
    """Return the cards above the table: who needs attention, then all machines, which are the sum of the presences.

    A presence without machines is left out, unless it is one of the usual three. Retired machines are not among all
    machines, so their card is apart, at the end.
    """
    narrowed = bool(filters.presences or filters.attention)
    troubled = counts.of(attention=True)
    word = Word(_("Needs attention"), "bad" if troubled else "good")
    shown = [
        _card(ATTENTION, word, troubled, pressed=filters.attention),
        _card(ALL, Word(_("Machines"), "plain"), counts.of((), filters.healths), pressed=not narrowed, apart=True),
    ]
    for code in text.PRESENCE:
        if counts.of((code,)) or code in _ALWAYS_SHOWN or code in filters.presences:
            pressed, apart = code in filters.presences, code == RETIRED
            number = counts.of((code,), filters.healths)
            shown.append(_card(code, text.presence(code), number, pressed=pressed, apart=apart))
    return shown


def _card(code: str, word: Word, number: int, *, pressed: bool, apart: bool = False) -> dict[str, Any]:
    """`apart`: with a gap before it, as it does not count the same machines as those before."""
    shown = {"code": code, "label": word.label, "tone": word.tone, "count": text.count(number)}
    return {**shown, "pressed": pressed, "apart": apart}


def rows(
    found: Sequence[Row[Any]],
    now: int,
    thresholds: Thresholds | None,
    trends: Mapping[str, Trend] | None = None,
    *,
    path: str,
    zone: tzinfo = UTC,
    label_keys: Sequence[str] = (),
    readings: Callable[[Row[Any]], Sequence[Mapping[str, Any]]] = lambda _row: (),
) -> list[dict[str, Any]]:
    """Return the table's rows. `path` is the address of the machine page, `trends` is by machine id.

    `readings`: returns the cells of a machine in the columns of readings.
    """
    limits, known = thresholds or DEFAULT_THRESHOLDS, trends or {}
    suffix = cells.common_suffix([row.hostname or row.name for row in found])
    drawn = []
    for row in found:
        name = cells.machine(row.name, row.hostname, suffix)
        rest = _cells(row, now, zone, limits, known.get(row.name, ()))
        rest[_LABELS_AT - 1 : _LABELS_AT - 1] = [*map(dict, readings(row)), *_labels(row.labels or {}, label_keys)]
        drawn.append(cells.row(row.name, f"{path}?id={quote(row.name)}", name, *rest))
    return drawn


def status(row: Row[Any], now: int) -> tuple[Word, str]:
    """Return the word for a machine's presence, with a question mark while unverified, and the reason."""
    word = text.presence(row.presence)
    since = _("since {length}", length=text.duration((now - row.since_at) / 1000)) if row.since_at else ""
    parts = [part for part in (text.reason(row.reason or ""), since) if part]
    if row.verified is False and row.presence != RETIRED:
        word = Word(f"{word.label}?", "plain")
        parts = [_(_UNVERIFIED), *parts]
    joined = ", ".join(part.rstrip(".") for part in parts)
    return word, joined[:1].upper() + joined[1:]


def health(row: Row[Any]) -> Word:
    """Return the health score with its status; a dash if the readings are not current."""
    if not row.current:
        return Word(text.UNKNOWN, "plain")
    word = text.health(row.health_status)
    return word if row.health_score is None else Word(f"{row.health_score} {word.label}", word.tone)


def tone(percent: float | None, component: Component, thresholds: Thresholds) -> str:
    """Return the colour of a usage, which follows its part in the health score."""
    if percent is None:
        return "plain"
    value = (100 - percent) / (100 - component.knee_percent)
    if value <= thresholds.component_critical:
        return "bad"
    return "fair" if value <= thresholds.component_warn else "plain"


def _cells(row: Row[Any], now: int, zone: tzinfo, thresholds: Thresholds, trend: Trend) -> list[dict[str, Any]]:
    aged = "" if row.current else text.as_of(row.as_of, now, zone)
    readings = (
        _bar(row.cpu_percent, thresholds.cpu, thresholds),
        _line(tuple(trend)),
        _bar(row.memory_percent, thresholds.memory, thresholds),
        _bar(row.disk_percent, thresholds.disk, thresholds),
        cells.plain(disk_outlook.full_in(row.full_at, row.disk_outlook, now)),
        cells.plain(text.duration(row.uptime_seconds)),
    )
    return [
        cells.chip(*status(row, now)),
        cells.plain(text.short_moment(row.since_at, now, zone) if row.since_at else text.UNKNOWN),
        {**cells.chip(health(row)), "detail": aged},
        *(cells.aged(cell, aged) if aged else cell for cell in readings),
        cells.plain(text.ago(row.last_seen_at, now)),
        cells.plain(" ".join(part for part in (row.os, row.os_version) if part) or text.UNKNOWN),
        cells.plain(row.agent_version or text.UNKNOWN),
    ]


def _labels(labels: Mapping[str, str], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return a cell for each label with a column, and one for the others."""
    chosen = [
        cells.picked(labels[key], f"{key}={labels[key]}") if key in labels else cells.plain(text.UNKNOWN)
        for key in keys
    ]
    others = {key: value for key, value in sorted(labels.items()) if key not in keys}
    return [*chosen, cells.tags(text.labels(others), [f"{key}={value}" for key, value in others.items()])]


def _bar(percent: float | None, component: Component, thresholds: Thresholds) -> dict[str, Any]:
    return _drawn_bar(None if percent is None else round(percent), tone(percent, component, thresholds))


@kept_by_language(2000)
def _drawn_bar(percent: int | None, colour: str) -> dict[str, Any]:
    return {"kind": "bar", "text": text.percent(percent), "percent": percent, "tone": colour}


@kept_by_language(5000)
def _line(trend: tuple[float | None, ...]) -> dict[str, Any]:
    known = [point for point in trend if point is not None]
    if not known:
        return cells.plain(text.UNKNOWN)
    average = sum(known) / len(known)
    low, high = text.percent(min(known)), text.percent(max(known))
    spoken = _("CPU from {low} to {high}, {average} on average", low=low, high=high, average=text.percent(average))
    points = "".join(_GAP if point is None else _level(point) for point in trend)
    return {"kind": "line", "text": spoken, "points": points}


def _level(percent: float) -> str:
    """Encode a point of a line as one character: `0` for zero, the next one for each two percent."""
    return chr(ord("0") + round(min(max(percent, 0.0), 100.0) / 2))
