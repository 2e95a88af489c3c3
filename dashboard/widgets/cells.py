"""Columns, rows and cells of a table, as `assets/table.js` expects them. Text stays text; nothing here is markup."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dashboard.i18n.language import Marked, _
from dashboard.i18n.text import Word
from schemas.contract.topics import slug

TAGS_SHOWN: Final = 2
_HINT_MAX: Final = 500

Heads = tuple[tuple[str, Marked], ...]
"""The columns of a table: their codes and labels."""


def columns(heads: Heads) -> list[dict[str, str]]:
    """Return the header of a table that cannot be sorted."""
    return [{"code": code, "label": _(label), "sorted": ""} for code, label in heads]


def row(id_: str, href: str, *cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row; `href` serves the browser's own ways of opening it, such as a new tab."""
    return {"id": id_, "href": href, "cells": list(cells)}


def name(shown: str, detail: str = "") -> dict[str, Any]:
    """Return the cell with the row's name."""
    return {"kind": "name", "text": shown, "detail": detail}


def machine(id_: str, hostname: str | None) -> dict[str, Any]:
    """The name of a machine: its hostname, and its id unless the hostname says it."""
    shown = hostname or id_
    return name(shown, "" if tells(shown, id_) else id_)


def tells(hostname: str, id_: str) -> bool:
    """Return True if the hostname, with or without its domain, says the machine's id."""
    return id_ in (slug(hostname), slug(hostname.partition(".")[0]))


def plain(shown: str, hint: str = "") -> dict[str, Any]:
    """Return a cell of text."""
    return {"kind": "text", "text": shown, "hint": hint}


def aged(cell: Mapping[str, Any], as_of: str) -> dict[str, Any]:
    """Return a cell whose value is not current: greyed, with the time of its value as its hint."""
    plain_tone = {"tone": "plain"} if "tone" in cell else {}
    return {**cell, **plain_tone, "hint": as_of, "aged": True}


def chip(word: Word, hint: str = "") -> dict[str, Any]:
    """Return a cell with a coloured label."""
    return {"kind": "chip", "text": word.label, "tone": word.tone, "hint": hint}


def tags(texts: Sequence[str]) -> dict[str, Any]:
    """Return a cell with the first texts as small labels and the number of the others; the hint then names them all."""
    more = len(texts) - TAGS_SHOWN
    hint = ", ".join(texts)[:_HINT_MAX] if more > 0 else ""
    return {"kind": "tags", "tags": list(texts[:TAGS_SHOWN]), "more": f"+{more}" if more > 0 else "", "hint": hint}


def chips(found: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return a cell with several coloured labels, each a `text` and a `tone`."""
    return {"kind": "chips", "chips": list(found)}
