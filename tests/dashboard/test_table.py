from dashboard import cells, table
from dashboard.text import Word


def test_what_values_are_called_travels_once_for_each_kind_of_cell() -> None:
    good = Word("Online", "good")
    rows = [
        cells.row("a", "/machine?id=a", cells.name("a"), cells.chip(good, "Since 1 h"), cells.plain("4 s ago")),
        cells.row("b", "/machine?id=b", cells.name("b.org", "b"), cells.chip(good), cells.plain("", "never")),
    ]
    assert table.packed(rows) == {
        "shapes": [("name", "text", "detail"), ("chip", "text", "tone", "hint"), ("text", "text", "hint")],
        "rows": [
            ["a", "/machine?id=a", [0, "a"], [1, "Online", "good", "Since 1 h"], [2, "4 s ago"]],
            ["b", "/machine?id=b", [0, "b.org", "b"], [1, "Online", "good"], [2, "", "never"]],
        ],
    }


def test_a_nothing_that_is_no_text_travels() -> None:
    bar = {"kind": "bar", "text": "–", "percent": None, "tone": ""}
    assert table.packed([cells.row("a", "/", bar)])["rows"] == [["a", "/", [0, "–", None]]]
