"""From rows of the database to what the fleet's table and cards draw. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from schemas.contract.messages import Component, Thresholds
from schemas.contract.topics import slug
from schemas.database.queries.machines import RETIRED, Counts, Filters
from schemas.fleet.health import DEFAULT_THRESHOLDS

ATTENTION: Final = "attention"
ALL: Final = "all"
ATTENTION_HEALTHS: Final = ("warn", "critical")
TREND_MINUTES: Final = 30
"""How far back the line of a machine's CPU reaches."""

_ALWAYS_SHOWN: Final = ("online", "stale", "offline")
_LABELS_SHOWN: Final = 2

_HINT_MAX: Final = 500
_GAP: Final = " "
"""In a line: nothing was measured."""

_TREND: Final = marked("CPU from {low} to {high}, {average} on average")
_UNVERIFIED: Final = marked("Unverified: the ingestor was blind and has not heard from this machine since.")


Trend = Sequence[float | None]
"""A machine's CPU by the minute, the oldest first, in percent; None where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. `falls`: the first click on its header shows the highest value first."""

    code: str
    label: Marked
    falls: bool = False
    sortable: bool = True


COLUMNS: Final = (
    Column("machine", marked("Machine")),
    Column("status", marked("Status")),
    Column("health", marked("Health")),
    Column("cpu", marked("CPU"), falls=True),
    Column("trend", marked("{minutes} min"), sortable=False),
    Column("memory", marked("Memory"), falls=True),
    Column("disk", marked("Disk"), falls=True),
    Column("uptime", marked("Uptime"), falls=True),
    Column("seen", marked("Last seen"), falls=True),
    Column("labels", marked("Labels"), sortable=False),
    Column("system", marked("System")),
    Column("agent", marked("Agent")),
)


def columns(filters: Filters) -> list[dict[str, Any]]:
    """The table's header."""
    direction = "descending" if filters.descending else "ascending"
    minutes = text.count(TREND_MINUTES)
    header: list[dict[str, Any]] = [{"code": each.code, "label": _(each.label, minutes=minutes)} for each in COLUMNS]
    for column, drawn in zip(COLUMNS, header, strict=True):
        if column.sortable:
            drawn["sorted"] = direction if column.code == filters.order else "none"
    return header


def cards(counts: Counts, filters: Filters) -> list[dict[str, Any]]:
    """The counts above the table: on each, how many machines are left when it is pressed.

    A presence that no machine has is left out, unless it is one of the usual three.
    """
    shown = [_card(ALL, text.Word(_("Machines"), "plain"), counts.of(), pressed=not _narrows(filters))]
    for code in text.PRESENCE:
        if counts.of((code,)) or code in _ALWAYS_SHOWN or code in filters.presences:
            number = counts.of((code,), filters.healths)
            shown.append(_card(code, text.presence(code), number, pressed=code in filters.presences))
    troubled = counts.of(filters.presences, ATTENTION_HEALTHS)
    word = text.Word(_("Need attention"), "bad" if troubled else "good")
    return [*shown, _card(ATTENTION, word, troubled, pressed=set(filters.healths) == set(ATTENTION_HEALTHS))]


def rows(
    found: Sequence[Row[Any]],
    now: int,
    thresholds: Thresholds | None,
    trends: Mapping[str, Trend] | None = None,
    *,
    path: str,
) -> list[dict[str, Any]]:
    """The table's rows; `path` is the address of the machine page, `trends` is by the machines' ids."""
    judged_by, known = thresholds or DEFAULT_THRESHOLDS, trends or {}
    return [
        {
            "id": row.name,
            "href": f"{path}?id={quote(row.name)}",
            "cells": _cells(row, now, judged_by, known.get(row.name, ())),
        }
        for row in found
    ]


def status(row: Row[Any], now: int) -> tuple[text.Word, str]:
    """The word for a machine's presence and why it is so. Unverified, it carries a question mark."""
    word = text.presence(row.presence)
    parts = [part for part in (text.reason(row.reason or ""), _since(row.since_at, now)) if part]
    if row.verified is False and row.presence != RETIRED:
        word = text.Word(f"{word.label}?", "plain")
        parts = [_(_UNVERIFIED), *parts]
    return word, _sentence(parts)


def health(row: Row[Any]) -> text.Word:
    """The score with its word."""
    word = text.health(row.health_status)
    return word if row.health_score is None else text.Word(f"{row.health_score} {word.label}", word.tone)


def tone(percent: float | None, component: Component, thresholds: Thresholds) -> str:
    """The colour of a share: as the score counts it."""
    if percent is None:
        return "plain"
    value = (100 - percent) / (100 - component.knee_percent)
    if value <= thresholds.component_critical:
        return "bad"
    return "fair" if value <= thresholds.component_warn else "plain"


def _cells(row: Row[Any], now: int, thresholds: Thresholds, trend: Trend) -> list[dict[str, Any]]:
    word, why = status(row, now)
    shown = row.hostname or row.name
    well = health(row)
    return [
        {"kind": "name", "text": shown, "detail": "" if _tells(shown, row.name) else row.name},
        {"kind": "chip", "text": word.label, "tone": word.tone, "hint": why},
        {"kind": "chip", "text": well.label, "tone": well.tone, "hint": ""},
        _bar(row.cpu_percent, thresholds.cpu, thresholds),
        _line(trend),
        _bar(row.memory_percent, thresholds.memory, thresholds),
        _bar(row.disk_percent, thresholds.disk, thresholds),
        _text(text.duration(row.uptime_seconds)),
        _text(text.ago(row.last_seen_at, now)),
        _tags(row.labels),
        _text(" ".join(part for part in (row.os, row.os_version) if part) or text.UNKNOWN),
        _text(row.agent_version or text.UNKNOWN),
    ]


def _tells(hostname: str, name: str) -> bool:
    """Whether the hostname says the machine's id already."""
    return name in (slug(hostname), slug(hostname.partition(".")[0]))


def _card(code: str, word: text.Word, number: int, *, pressed: bool) -> dict[str, Any]:
    return {"code": code, "label": word.label, "tone": word.tone, "count": text.count(number), "pressed": pressed}


def _bar(percent: float | None, component: Component, thresholds: Thresholds) -> dict[str, Any]:
    shown = None if percent is None else round(percent)
    return {
        "kind": "bar",
        "text": text.percent(percent),
        "percent": shown,
        "tone": tone(percent, component, thresholds),
    }


def _line(trend: Trend) -> dict[str, Any]:
    """The course of a share with what it says in words; a dash while nothing of it is known."""
    known = [point for point in trend if point is not None]
    if not known:
        return _text(text.UNKNOWN)
    average = sum(known) / len(known)
    said = _(_TREND, low=text.percent(min(known)), high=text.percent(max(known)), average=text.percent(average))
    return {
        "kind": "line",
        "text": said,
        "points": "".join(_GAP if point is None else _level(point) for point in trend),
    }


def _level(percent: float) -> str:
    """A point of a line as one letter: from `0` for nothing, one further for each two percent."""
    return chr(ord("0") + round(min(max(percent, 0.0), 100.0) / 2))


def _tags(labels: Mapping[str, str] | None) -> dict[str, Any]:
    """The first labels, and how many more there are; the hint names them all then."""
    named = text.labels(labels)
    more = len(named) - _LABELS_SHOWN
    return {
        "kind": "tags",
        "tags": named[:_LABELS_SHOWN],
        "more": f"+{more}" if more > 0 else "",
        "hint": ", ".join(named)[:_HINT_MAX] if more > 0 else "",
    }


def _text(shown: str) -> dict[str, Any]:
    return {"kind": "text", "text": shown, "hint": ""}


def _narrows(filters: Filters) -> bool:
    return bool(filters.presences or filters.healths)


def _since(since: int | None, now: int) -> str:
    return _("since {length}", length=text.duration((now - since) / 1000)) if since else ""


def _sentence(parts: Sequence[str]) -> str:
    joined = ", ".join(part.rstrip(".") for part in parts)
    return joined[:1].upper() + joined[1:]
