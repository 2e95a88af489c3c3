"""HTML elements of the pages. The only file that writes a tag around text.

Invariants:
- Every value is made readable and escaped here, whatever its origin. Machines name themselves, and some lie.
"""

import html
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence

from dashboard.i18n.text import Word, readable

_LINK = re.compile(r"https?(?=\\:)|www(?=\\\.)|@", re.IGNORECASE)
"""Where Streamlit recognises a link, escaped or not; a zero-width character inside prevents that."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])")


def escape(text: str) -> str:
    """Escape text for HTML."""
    return html.escape(readable(text))


def plain(text: str) -> str:
    """Escape text for Streamlit's Markdown, such as a label."""
    return _LINK.sub("\\g<0>\N{WORD JOINER}", _MARKDOWN.sub(r"\\\1", " ".join(readable(text).split())))


def chip(word: Word, hint: str = "") -> str:
    """Return a coloured label. The text carries the meaning, the colour only helps."""
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<span class="df-chip df-{escape(word.tone)}"{title}>{escape(word.label)}</span>'


def tags(texts: Iterable[str]) -> str:
    """Return small labels in a row."""
    return "".join(f'<span class="df-tag">{escape(text)}</span>' for text in texts)


def heading(text: str, level: int = 2) -> str:
    """Return a heading."""
    return f'<h{level} class="df-heading">{escape(text)}</h{level}>'


def title(text: str, word: Word, hint: str = "") -> str:
    """Return a page's heading with a state beside it."""
    return f'<div class="df-title">{heading(text, 1)}{chip(word, hint)}</div>'


def note(text: str) -> str:
    """Return a line of secondary text."""
    return f'<p class="df-note">{escape(text)}</p>'


def fault(text: str, name: str) -> str:
    """Return what is wrong with the input above, for `assets/faults.js`. `name`: unique on the page."""
    return f'<p class="df-fault" id="{escape(name)}">{escape(text)}</p>'


def banner(text: str, tone: str = "fair", *, outdated: bool = False) -> str:
    """Return a highlighted line across the page. `outdated`: no value on the page may look current."""
    marks = f"df-{escape(tone)}{' df-outdated' if outdated else ''}"
    return f'<div class="df-banner {marks}" role="status">{escape(text)}</div>'


def counted(counts: Mapping[str, str]) -> str:
    """Return the numbers beside the links of the menu, by the path of their pages, for `assets/counts.js`."""
    told = "".join(f' data-{escape(path)}="{escape(number)}"' for path, number in counts.items())
    return f'<span class="df-told"{told} hidden></span>'


def gauge(label: str, value: str, detail: str = "", percent: float | None = None, tone: str = "plain") -> str:
    """Return a value with its label and detail, and a bar if it is a percentage."""
    bar = ""
    if percent is not None:
        width = min(100.0, max(0.0, percent))
        bar = f'<div class="df-track df-{escape(tone)}"><span style="width:{width:.0f}%"></span></div>'
    return (
        f'<div class="df-gauge"><div class="df-label">{escape(label)}</div>'
        f'<div class="df-value">{escape(value)}</div>{bar}<div class="df-detail">{escape(detail)}</div></div>'
    )


def gauges(pieces: Iterable[str], *, small: bool = False, aged: bool = False) -> str:
    """Return gauges side by side, as many as fit. `aged`: their values are not current."""
    kinds = f"{' df-small' if small else ''}{' df-aged' if aged else ''}"
    return f'<div class="df-gauges{kinds}">{"".join(pieces)}</div>'


def line(label: str, paths: Iterable[Sequence[tuple[float, float]]]) -> str:
    """Return a line with its label, drawn through points of a square of 100, each path by itself."""
    drawn = " ".join("M" + " L".join(f"{x:g},{y:g}" for x, y in path) for path in paths if path)
    return (
        f'<figure class="df-trend"><figcaption class="df-label">{escape(label)}</figcaption>'
        f'<svg class="df-line" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{escape(drawn)}"/></svg></figure>'
    )


def lines_beside(pieces: Iterable[str]) -> str:
    """Return lines side by side, as many as fit."""
    return f'<div class="df-trends">{"".join(pieces)}</div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and values in two columns."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="df-facts">{rows}</dl>'


def settings(rows: Iterable[tuple[str, str, bool, str]]) -> str:
    """Return settings: a name, its value, True if a change of it is pending, and a mark or an empty text."""
    items = ""
    for name, value, soon, mark in rows:
        shown = chip(Word(value, "fair")) if soon else escape(value)
        marked = f'<span class="df-mark">{escape(mark)}</span>' if mark else ""
        items += f"<dt>{escape(name)}</dt><dd>{marked}{shown}</dd>"
    return f'<dl class="df-facts df-settings">{items}</dl>'


def timeline(rows: Iterable[tuple[str, Word, str]]) -> str:
    """Return events: a time, the new state, and the reason."""
    items = "".join(
        f"<li><time>{escape(when)}</time>{chip(word)}<span>{escape(why)}</span></li>" for when, word, why in rows
    )
    return f'<ol class="df-timeline">{items}</ol>'


def names(all_names: Iterable[str], label: str) -> str:
    """Return names in a scrolling box."""
    items = "".join(f"<li>{escape(name)}</li>" for name in all_names)
    return f'<ul class="df-names" tabindex="0" aria-label="{escape(label)}">{items}</ul>'


def targets(groups: Iterable[tuple[str, Iterable[tuple[str, Word | None]]]], label: str) -> str:
    """Return names in a scrolling box, by group, each with a state that needs attention or None."""
    shown = ""
    for group, members in groups:
        items = "".join(f"<li>{escape(name)}{f' {chip(word)}' if word else ''}</li>" for name, word in members)
        shown += f"<h4>{escape(group)}</h4>" if group else ""
        shown += f"<ul>{items}</ul>"
    return f'<div class="df-names df-targets" tabindex="0" role="group" aria-label="{escape(label)}">{shown}</div>'


def selected(count: str, names: str, why: str) -> str:
    """Return the number and names of the selected machines, and why no action can be run on them, if so."""
    trouble = f'<span class="df-why">{escape(why)}</span>' if why else ""
    return (
        f'<div class="df-selected" role="status"><strong>{escape(count)}</strong>'
        f"<span>{escape(names)}</span>{trouble}</div>"
    )


def lines(texts: Iterable[str]) -> str:
    """Return lines of secondary text."""
    return "".join(note(text) for text in texts)


def counts(pairs: Iterable[tuple[Word, str]]) -> str:
    """Return counts by state."""
    return f'<div class="df-counts">{"".join(chip(Word(f"{n} {w.label}", w.tone)) for w, n in pairs)}</div>'


def outcomes(rows: Iterable[tuple[str, Word, str]], label: str) -> str:
    """Return a table of outcomes: a name, a state and its reason."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{chip(word)}</td><td>{escape(why)}</td></tr>'
        for name, word, why in rows
    )
    return (
        f'<div class="df-outcomes" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><tbody>{lines}</tbody></table></div>"
    )


def listing(label: str, heads: Iterable[str], rows: Iterable[tuple[str, Word, Iterable[str]]]) -> str:
    """Return a table of items: a name, a state, and a text for each further column."""
    head = "".join(f'<th scope="col"><span>{escape(each)}</span></th>' for each in heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{chip(word)}</td>'
        f"{''.join(f'<td>{escape(each)}</td>' for each in texts)}</tr>"
        for name, word, texts in rows
    )
    return (
        f'<div class="df-scroll df-listing" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="df-fleet"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def readings(name: str, heads: Iterable[str], rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return a table of devices with a value in each further column. `name`: of the kind of devices."""
    head = "".join(f'<th scope="col"><span>{escape(each)}</span></th>' for each in [name, *heads])
    lines = "".join(
        f'<tr><th scope="row">{escape(device)}</th>{"".join(f"<td>{escape(each)}</td>" for each in values)}</tr>'
        for device, values in rows
    )
    return (
        f'<div class="df-scroll df-listing df-readings" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<table class="df-fleet"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def comparison(heads: Iterable[str], rows: Iterable[tuple[str, str, str, Word]]) -> str:
    """Return a table that compares two values: a name, both values, and a label for their difference."""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(one)}</td><td>{escape(other)}</td>'
        f"<td>{chip(word)}</td></tr>"
        for name, one, other, word in rows
    )
    return f'<table class="df-comparison"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def downloads(label: str, files: Iterable[tuple[str, str]]) -> str:
    """Return links to files, each a name and an address, after a label."""
    links = "".join(f'<a href="{_relative(href)}" download>{escape(name)}</a>' for name, href in files)
    return f'<p class="df-note df-downloads"><span>{escape(label)}</span>{links}</p>'


def empty(title: str, text: str) -> str:
    """Return the message of a page that has nothing to show."""
    return f'<div class="df-empty"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'


def brand(logo: str) -> str:
    """Return the product's name beside its logo, an SVG."""
    source = f"data:image/svg+xml;base64,{b64encode(logo.encode()).decode()}"
    return f'<div class="df-brand"><img src="{source}" alt="" width="30" height="30"><strong>DashFleet</strong></div>'


def signed_in(user: str, org: str, *, account: tuple[str, str], sign_out: str, label: str) -> str:
    """Return the signed-in user with a link to the account, an address and its title, and the sign-out button."""
    address, title = _relative(account[0]), escape(account[1])
    return (
        f'<div class="df-visitor"><a href="{address}" target="_self" title="{title}"><strong>{escape(user)}</strong>'
        f"<span>{escape(org)}</span></a>"
        f'<form method="post" action="{_relative(sign_out)}"><button type="submit">{escape(label)}</button>'
        "</form></div>"
    )


def live_stamp(text: str) -> str:
    """Return the time of the last refresh."""
    return f'<p class="df-note df-live">{escape(text)}</p>'


def _relative(address: str) -> str:
    """Return an address of the site relative to the page, as the dashboard may be below a path."""
    return escape(f".{address}")
