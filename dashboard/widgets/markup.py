"""The pieces of HTML that pages are made of. The only file that writes a tag around somebody's text.

Invariants:
- Every value is made readable and escaped here, whoever it came from. Machines name themselves, and some lie.
"""

import html
import re
from base64 import b64encode
from collections.abc import Iterable

from dashboard.i18n.text import Word, readable

_LINK = re.compile(r"https?(?=\\:)|www(?=\\\.)|@", re.IGNORECASE)
"""What Streamlit makes a link of, escaped or not: a sign of no width in it keeps it text."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])")


def escape(text: str) -> str:
    """Text for where a browser reads HTML."""
    return html.escape(readable(text))


def plain(text: str) -> str:
    """Text for where Streamlit reads Markdown, such as a label: nothing in it means anything."""
    return _LINK.sub("\\g<0>\N{WORD JOINER}", _MARKDOWN.sub(r"\\\1", " ".join(readable(text).split())))


def chip(word: Word, hint: str = "") -> str:
    """A word on its colour. The word says it, the colour only helps."""
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<span class="df-chip df-{escape(word.tone)}"{title}>{escape(word.label)}</span>'


def tags(texts: Iterable[str]) -> str:
    """Small labels in a row."""
    return "".join(f'<span class="df-tag">{escape(text)}</span>' for text in texts)


def heading(text: str, level: int = 2) -> str:
    """A heading that cannot carry Markdown."""
    return f'<h{level} class="df-heading">{escape(text)}</h{level}>'


def title(text: str, word: Word, hint: str = "") -> str:
    """A page's heading with the state of what it is about."""
    return f'<div class="df-title">{heading(text, 1)}{chip(word, hint)}</div>'


def note(text: str) -> str:
    """A quiet line."""
    return f'<p class="df-note">{escape(text)}</p>'


def banner(text: str, tone: str = "fair") -> str:
    """A line across the page that must not be missed."""
    return f'<div class="df-banner df-{escape(tone)}" role="status">{escape(text)}</div>'


def gauge(label: str, value: str, detail: str = "", percent: float | None = None, tone: str = "plain") -> str:
    """A figure with its name, what it is made of, and a bar when it is a share."""
    bar = ""
    if percent is not None:
        width = min(100.0, max(0.0, percent))
        bar = f'<div class="df-track df-{escape(tone)}"><span style="width:{width:.0f}%"></span></div>'
    return (
        f'<div class="df-gauge"><div class="df-label">{escape(label)}</div>'
        f'<div class="df-value">{escape(value)}</div>{bar}<div class="df-detail">{escape(detail)}</div></div>'
    )


def gauges(pieces: Iterable[str], *, small: bool = False) -> str:
    """Gauges, as many beside each other as fit."""
    return f'<div class="df-gauges{" df-small" if small else ""}">{"".join(pieces)}</div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="df-facts">{rows}</dl>'


def settings(rows: Iterable[tuple[str, str, bool]]) -> str:
    """What is set: a name, its value, and whether another one is on its way."""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{chip(Word(value, 'fair')) if soon else escape(value)}</dd>"
        for name, value, soon in rows
    )
    return f'<dl class="df-facts df-settings">{items}</dl>'


def timeline(rows: Iterable[tuple[str, Word, str]]) -> str:
    """What happened when: a time, what it became, and why."""
    items = "".join(
        f"<li><time>{escape(when)}</time>{chip(word)}<span>{escape(why)}</span></li>" for when, word, why in rows
    )
    return f'<ol class="df-timeline">{items}</ol>'


def names(all_names: Iterable[str], label: str) -> str:
    """Many names in a box that scrolls."""
    items = "".join(f"<li>{escape(name)}</li>" for name in all_names)
    return f'<ul class="df-names" tabindex="0" aria-label="{escape(label)}">{items}</ul>'


def selected(count: str, names: str, why: str) -> str:
    """How many are ticked, which, and why nothing can be done with them, if so."""
    trouble = f'<span class="df-why">{escape(why)}</span>' if why else ""
    return (
        f'<div class="df-selected" role="status"><strong>{escape(count)}</strong>'
        f"<span>{escape(names)}</span>{trouble}</div>"
    )


def lines(texts: Iterable[str]) -> str:
    """Quiet lines below each other."""
    return "".join(note(text) for text in texts)


def counts(pairs: Iterable[tuple[Word, str]]) -> str:
    """How many are in which state."""
    return f'<div class="df-counts">{"".join(chip(Word(f"{n} {w.label}", w.tone)) for w, n in pairs)}</div>'


def outcomes(rows: Iterable[tuple[str, Word, str]], label: str) -> str:
    """A table of who came to what, and why."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{chip(word)}</td><td>{escape(why)}</td></tr>'
        for name, word, why in rows
    )
    return (
        f'<div class="df-outcomes" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><tbody>{lines}</tbody></table></div>"
    )


def comparison(heads: Iterable[str], rows: Iterable[tuple[str, str, str, Word]]) -> str:
    """A table of what should be and what is: a name, both values, and a word for their difference."""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(one)}</td><td>{escape(other)}</td>'
        f"<td>{chip(word)}</td></tr>"
        for name, one, other, word in rows
    )
    return f'<table class="df-comparison"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def downloads(label: str, files: Iterable[tuple[str, str]]) -> str:
    """Links to files, each a name and an address, with what they are."""
    links = "".join(f'<a href="{escape(href)}" download>{escape(name)}</a>' for name, href in files)
    return f'<p class="df-note df-downloads"><span>{escape(label)}</span>{links}</p>'


def empty(title: str, text: str) -> str:
    """What a page says when it has nothing to show."""
    return f'<div class="df-empty"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'


def brand(logo: str) -> str:
    """The product's name beside its sign, an SVG of our own."""
    source = f"data:image/svg+xml;base64,{b64encode(logo.encode()).decode()}"
    return f'<div class="df-brand"><img src="{source}" alt="" width="30" height="30"><strong>DashFleet</strong></div>'


def signed_in(user: str, org: str, *, sign_out: str, label: str) -> str:
    """Who is here, and the way out."""
    return (
        f'<div class="df-visitor"><div><strong>{escape(user)}</strong><span>{escape(org)}</span></div>'
        f'<form method="post" action="{escape(sign_out)}"><button type="submit">{escape(label)}</button>'
        "</form></div>"
    )


def live_stamp(text: str) -> str:
    """When what is shown was read."""
    return f'<p class="df-note df-live">{escape(text)}</p>'
