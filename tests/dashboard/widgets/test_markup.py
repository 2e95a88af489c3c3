import inspect
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from dashboard.i18n.text import Word
from dashboard.widgets import markup

HOSTILE = "</span></div>\"'><img src=x onerror=alert(1)><script>alert(2)</script>&"
WORD = Word(HOSTILE, HOSTILE)

PIECES: dict[str, Callable[[], str]] = {
    "chip": lambda: markup.chip(WORD, HOSTILE),
    "tags": lambda: markup.tags([HOSTILE]),
    "heading": lambda: markup.heading(HOSTILE),
    "title": lambda: markup.title(HOSTILE, WORD, HOSTILE),
    "note": lambda: markup.note(HOSTILE),
    "banner": lambda: markup.banner(HOSTILE, HOSTILE),
    "counted": lambda: markup.counted({"fleet": HOSTILE}),
    "gauge": lambda: markup.gauge(HOSTILE, HOSTILE, HOSTILE, 50.0, HOSTILE),
    "gauges": lambda: markup.gauges([markup.gauge(HOSTILE, HOSTILE)]),
    "line": lambda: markup.line(HOSTILE, [[(0.0, 50.0), (100.0, 20.0)]]),
    "lines_beside": lambda: markup.lines_beside([markup.line(HOSTILE, [])]),
    "facts": lambda: markup.facts([(HOSTILE, HOSTILE)]),
    "settings": lambda: markup.settings([(HOSTILE, HOSTILE, True, ""), (HOSTILE, HOSTILE, False, HOSTILE)]),
    "timeline": lambda: markup.timeline([(HOSTILE, WORD, HOSTILE)]),
    "readings": lambda: markup.readings(HOSTILE, [HOSTILE], [(HOSTILE, [HOSTILE])]),
    "comparison": lambda: markup.comparison([HOSTILE], [(HOSTILE, HOSTILE, HOSTILE, WORD)]),
    "listing": lambda: markup.listing(HOSTILE, [HOSTILE], [(HOSTILE, WORD, [HOSTILE])]),
    "empty": lambda: markup.empty(HOSTILE, HOSTILE),
    "signed_in": lambda: markup.signed_in(
        HOSTILE, HOSTILE, account=(HOSTILE, HOSTILE), sign_out=HOSTILE, label=HOSTILE
    ),
    "live_stamp": lambda: markup.live_stamp(HOSTILE),
    "plain": lambda: markup.plain("nothing of HTML"),
    "targets": lambda: markup.targets([(HOSTILE, [(HOSTILE, WORD), (HOSTILE, None)])], HOSTILE),
    "names": lambda: markup.names([HOSTILE], HOSTILE),
    "counts": lambda: markup.counts([(WORD, HOSTILE)]),
    "outcomes": lambda: markup.outcomes([(HOSTILE, WORD, HOSTILE)], HOSTILE),
    "selected": lambda: markup.selected(HOSTILE, HOSTILE, HOSTILE),
    "lines": lambda: markup.lines([HOSTILE]),
    "downloads": lambda: markup.downloads(HOSTILE, [(HOSTILE, HOSTILE)]),
    "fault": lambda: markup.fault(HOSTILE, HOSTILE),
    "brand": lambda: markup.brand(HOSTILE),
}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


@pytest.mark.parametrize("name", PIECES)
def test_no_piece_lets_a_tag_through(name: str) -> None:
    tags = Tags()
    tags.feed(PIECES[name]())
    assert "script" not in tags.found
    assert name == "brand" or "img" not in tags.found


def test_every_piece_is_tried() -> None:
    public = {name for name, _ in inspect.getmembers(markup, inspect.isfunction) if not name.startswith("_")}
    assert public - {"escape", "readable", "b64encode"} == set(PIECES)


def test_in_a_label_nothing_is_markdown() -> None:
    assert markup.plain("![x](y) **b**\n# c") == r"\!\[x\]\(y\) \*\*b\*\* \# c"


def test_in_a_label_nothing_becomes_a_link() -> None:
    shown = markup.plain("http://evil.example HTTPS://evil.example www.evil.example me@evil.example").replace("\\", "")
    assert not re.search(r"https?://|www\.|@\w", shown, re.IGNORECASE)
    assert (
        shown.replace("\N{WORD JOINER}", "")
        == "http://evil.example HTTPS://evil.example www.evil.example me@evil.example"
    )


def test_a_bar_stays_in_its_track() -> None:
    assert "width:100%" in markup.gauge("x", "x", percent=1e9)
    assert "width:0%" in markup.gauge("x", "x", percent=-5)
