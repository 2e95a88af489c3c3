"""What a row of a table is made of, as `assets/table.js` takes it. Pure.

Invariant: text stays text; nothing here is markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.i18n.language import Marked, _
from dashboard.i18n.text import Word

Heads = tuple[tuple[str, Marked], ...]
"""The columns of a table: their codes and what they are called."""


def columns(heads: Heads) -> list[dict[str, str]]:
    """The header of a table that cannot be sorted."""
    return [{"code": code, "label": _(label), "sorted": ""} for code, label in heads]


def row(id_: str, href: str, *cells: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its link, for a browser's own ways of opening it."""
    return {"id": id_, "href": href, "cells": list(cells)}


def name(shown: str, detail: str = "") -> dict[str, Any]:
    """What a row is called."""
    return {"kind": "name", "text": shown, "detail": detail}


def plain(shown: str, hint: str = "") -> dict[str, Any]:
    """A cell of text."""
    return {"kind": "text", "text": shown, "hint": hint}


def chip(word: Word, hint: str = "") -> dict[str, Any]:
    """A cell with a word on its colour."""
    return {"kind": "chip", "text": word.label, "tone": word.tone, "hint": hint}


def chips(found: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A cell with several of them, each a `text` and a `tone`."""
    return {"kind": "chips", "chips": list(found)}
