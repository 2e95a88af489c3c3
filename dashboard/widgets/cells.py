"""What a row of a table is made of, as `assets/table.js` takes it. Pure.

Invariant: text stays text; nothing here is markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.i18n.language import Marked, _
from dashboard.i18n.text import Word
from schemas.contract.topics import slug

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


def machine(id_: str, hostname: str | None) -> dict[str, Any]:
    """The name of a machine: its hostname, and its id unless the hostname says it."""
    shown = hostname or id_
    return name(shown, "" if tells(shown, id_) else id_)


def tells(hostname: str, id_: str) -> bool:
    """Return True if the hostname, with or without its domain, says the machine's id."""
    return id_ in (slug(hostname), slug(hostname.partition(".")[0]))


def plain(shown: str, hint: str = "") -> dict[str, Any]:
    """A cell of text."""
    return {"kind": "text", "text": shown, "hint": hint}


def chip(word: Word, hint: str = "") -> dict[str, Any]:
    """A cell with a word on its colour."""
    return {"kind": "chip", "text": word.label, "tone": word.tone, "hint": hint}


def chips(found: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A cell with several of them, each a `text` and a `tone`."""
    return {"kind": "chips", "chips": list(found)}
