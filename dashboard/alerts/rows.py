"""Alerts as lines of a timeline, and chips. Pure."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _
from dashboard.i18n.text import Word
from dashboard.silences import texts


def lines(found: Sequence[Row[Any]], now: int, zone: tzinfo) -> list[tuple[str, Word, str]]:
    """Return a machine's alerts as lines of a timeline."""
    return [
        (
            text.moment(row.started_at, now, zone),
            state(row),
            _described(row, _lasted(row, now), *_attention(row, now, zone)),
        )
        for row in found
    ]


def _attention(row: Row[Any], now: int, zone: tzinfo) -> list[str]:
    word = texts.attention(row, now, zone)
    return [] if word is None else [word.label, texts.attention_reason(row)]


def chips(found: Sequence[Row[Any]]) -> list[Word]:
    """Return a chip for each active alert of a machine."""
    return [Word(_described(row), state(row).tone) for row in found if row.ended_at is None]


def state(row: Row[Any]) -> Word:
    """Return the severity of an active alert, or that the alert is resolved."""
    if row.ended_at is not None:
        return Word(_("Resolved"), "plain")
    return Word(_("Critical"), "bad") if row.severity == "critical" else Word(_("Warning"), "fair")


def _lasted(row: Row[Any], now: int) -> str:
    return text.duration(max(0, (row.ended_at or now) - row.started_at) / 1000)


def _described(row: Row[Any], *more: str) -> str:
    return " · ".join(filter(None, (translated_details(row.title), translated_details(row.detail), *more)))
