"""A pseudo language that puts translated texts into ⟦brackets⟧, so that untranslated ones can be found."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from playwright.sync_api import Page
from sqlalchemy import Engine, select

from dashboard.i18n.language import LANGUAGES, name_of
from schemas.database import tables

PREPARATION: Final = """
import gettext
from babel import Locale
from dashboard.i18n import language

class Brackets(gettext.NullTranslations):
    def gettext(self, message):
        return f"⟦{message}⟧"

    def ngettext(self, one, many, n):
        return f"⟦{one if n == 1 else many}⟧"

    def pgettext(self, context, message):
        return f"⟦{message}⟧"

language._catalogue = lambda code: Brackets()
language._locale = lambda code: Locale("uk")  # Babel's formats contain no Latin letters
"""
"""The code that replaces English with the pseudo language; a dashboard runs it before it starts."""

_ATTRIBUTES: Final = ["aria-label", "aria-description", "title", "placeholder", "alt", "value"]
_TEXTS: Final = """(names) => {
  const skipped = "script, style, noscript, code, pre, [data-testid=stIconMaterial], [lang]:not(html)";
  const read = [], said = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || element.closest(skipped)) continue;
    for (const name of names)
      if (element.hasAttribute(name)) said.push(`${name}: ${element.getAttribute(name)}`);
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode())
    if (node.parentElement.checkVisibility() && !node.parentElement.closest(skipped)) read.push(node.data);
  return [read.join("\\n"), ...said];
}"""
"""The visible text of a page in one piece, as a text may span several elements, and the text for screen readers."""

_OURS: Final = re.compile(r"⟦[^⟦⟧]*⟧")
_IDS: Final = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{16})\b")
_DURATION: Final = re.compile(r"value: \d+[smhd]")
"""In the form in which it is typed, which is the same in all languages."""

_BROWSERS: Final = re.compile(r"\d+ options? available\.|(?:Increment|Decrement) .*|Dismiss")
"""Texts of a library of Streamlit in the language of the browser, which is English here."""

_NAMES: Final = ("DashFleet", *map(name_of, LANGUAGES))


def data_of(engine: Engine) -> list[str]:
    """Return all texts that the machines report, and their names."""
    columns = (
        tables.machine.c[name] for name in ("name", "hostname", "os", "os_version", "agent_version", "labels", "info")
    )
    with engine.connect() as connection:
        found = {text for row in connection.execute(select(*columns)) for text in _strings(list(row))}
    return sorted(found, key=len, reverse=True)


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    match value:
        case str():
            yield value
        case dict():
            for name, each in value.items():
                yield from (name, *_strings(each))
        case list():
            for each in value:
                yield from _strings(each)


def unmarked(page: Page, data: Sequence[str]) -> list[str]:
    """Return the texts on a page, including those for screen readers, that are neither translated nor data."""
    return sorted({line for text in page.evaluate(_TEXTS, _ATTRIBUTES) for line in _rest(text, data)})


def _rest(text: str, data: Sequence[str]) -> Iterator[str]:
    if _DURATION.fullmatch(text):
        return
    kind, colon, said = text.partition(": ")
    text, where = (said, kind + colon) if kind in _ATTRIBUTES else (text, "")
    before = ""
    while before != text:
        before, text = text, _OURS.sub(" ", text)
    text = _IDS.sub(" ", text)
    for known in (*_NAMES, *data):
        text = re.sub(rf"(?<!\w){re.escape(known)}(?!\w)", " ", text)
    for line in text.splitlines():
        if re.search("[A-Za-z]", line) and not _BROWSERS.fullmatch(line.strip()):
            yield where + line.strip()
