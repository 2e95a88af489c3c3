"""Columns, rows and cells of a table, as `assets/table.js` expects them. Text stays text; nothing here is markup."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dashboard.i18n.language import Marked, _
from dashboard.i18n.text import Word
from schemas.fleet.machine_name import tells

TAGS_SHOWN: Final = 2
_HINT_MAX: Final = 500
_SHARED_MIN: Final = 3
"""Hostnames that make a suffix common."""

Heads = tuple[tuple[str, Marked], ...]
"""The columns of a table: their codes and labels."""


def columns(heads: Heads) -> list[dict[str, str]]:
    """Return the header of a table that cannot be sorted."""
    return [{"code": code, "label": _(label), "sorted": ""} for code, label in heads]


def row(id_: str, href: str, *cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row; `href` serves the browser's own ways of opening it, such as a new tab."""
    return {"id": id_, "href": href, "cells": list(cells)}


def name(shown: str, detail: str = "", hint: str = "") -> dict[str, Any]:
    """Return the cell with the row's name."""
    return {"kind": "name", "text": shown, "detail": detail, "hint": hint}


def machine(id_: str, hostname: str | None, suffix: str = "") -> dict[str, Any]:
    """Return the cell with a machine's name: its hostname, and its id unless the hostname says it.

    `suffix`: the end of hostnames that is left out; the hint then has the whole name.
    """
    known = hostname or id_
    shown = known.removesuffix(suffix) or known
    return name(shown, "" if tells(known, id_) else id_, known if shown != known else "")


def common_suffix(names: Sequence[str]) -> str:
    """Return the domain, with its dot, that most of these hostnames end with; empty if few do, or none is shared.

    Without it every name stays different from all others.
    """
    ends = Counter(end for host, dot, end in (each.partition(".") for each in names) if dot and host)
    end, count = max(ends.items(), key=lambda pair: pair[1], default=("", 0))
    if count < _SHARED_MIN or not any(letter.isalpha() for letter in end):
        return ""
    suffix = f".{end}"
    return suffix if len({each.removesuffix(suffix) for each in names}) == len(set(names)) else ""


def plain(shown: str, hint: str = "", detail: str = "") -> dict[str, Any]:
    """Return a cell of text, with a second line of detail."""
    cell = {"kind": "text", "text": shown, "hint": hint}
    return {**cell, "detail": detail} if detail else cell


def link(shown: str, href: str, opens: str) -> dict[str, Any]:
    """Return a cell with a link of its own: a click opens the id `opens` instead of the row. Empty without a text."""
    return {"kind": "link", "text": shown, "href": href, "opens": opens}


def aged(cell: Mapping[str, Any], as_of: str) -> dict[str, Any]:
    """Return a cell whose value is not current: greyed, with the time of its value as its hint."""
    plain_tone = {"tone": "plain"} if "tone" in cell else {}
    return {**cell, **plain_tone, "hint": as_of, "aged": True}


def chip(word: Word, hint: str = "") -> dict[str, Any]:
    """Return a cell with a coloured label."""
    return {"kind": "chip", "text": word.label, "tone": word.tone, "hint": hint}


def tags(texts: Sequence[str], picks: Sequence[str] = ()) -> dict[str, Any]:
    """Return a cell with the first texts as small labels and the number of the others; the hint then names them all.

    `picks`: what a click on each picks; none: they cannot be clicked.
    """
    more = len(texts) - TAGS_SHOWN
    hint = ", ".join(texts)[:_HINT_MAX] if more > 0 else ""
    shown = {"kind": "tags", "tags": list(texts[:TAGS_SHOWN]), "more": f"+{more}" if more > 0 else "", "hint": hint}
    return {**shown, "picks": list(picks[:TAGS_SHOWN])} if picks else shown


def picked(shown: str, pick: str) -> dict[str, Any]:
    """Return a cell with a value that can be clicked."""
    return {"kind": "pick", "text": shown, "pick": pick}


def chips(found: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return a cell with several coloured labels, each a `text` and a `tone`."""
    return {"kind": "chips", "chips": list(found)}
