from dashboard.i18n.text import Word
from dashboard.widgets import cells, table


def test_each_different_cell_and_what_its_values_are_called_travels_once() -> None:
    good = Word("Online", "good")
    rows = [
        cells.row("a", "/machine?id=a", cells.name("a"), cells.chip(good, "Since 1 h"), cells.plain("4 s ago")),
        cells.row("b", "/machine?id=b", cells.name("b.org", "b"), cells.chip(good), cells.plain("", "never")),
        cells.row("c", "/machine?id=c", cells.name("c"), cells.chip(good, "Since 1 h"), cells.plain("4 s ago")),
    ]
    assert table.packed(rows) == {
        "shapes": [("name", "text", "detail", "hint"), ("chip", "text", "tone", "hint"), ("text", "text", "hint")],
        "cells": [
            [0, "a"],
            [1, "Online", "good", "Since 1 h"],
            [2, "4 s ago"],
            [0, "b.org", "b"],
            [1, "Online", "good"],
            [2, "", "never"],
            [0, "c"],
        ],
        "rows": [
            ["a", "/machine?id=a", 0, 1, 2],
            ["b", "/machine?id=b", 3, 4, 5],
            ["c", "/machine?id=c", 6, 1, 2],
        ],
    }


def test_a_nothing_that_is_no_text_travels_and_texts_are_made_readable() -> None:
    bar = {"kind": "bar", "text": "a\u202eb", "percent": None, "tone": ""}
    assert table.packed([cells.row("a", "/", bar)])["cells"] == [[0, "a\N{REPLACEMENT CHARACTER}b", None]]
