"""In which language a text is for whom it is drawn, and the text in it.

    _("No incident")                                      a text, where it is used
    _("Updated {at}", at=...)                             with values in it, by name
    ngettext("{n} machine", "{n} machines", count)        with a number, which `{n}` shows as the language writes it
    pgettext("network", "Sent")                           where one English word has two meanings
    _NONE: Final = marked("No incident")                  in a constant; `_(_NONE)` where it is used

Invariants:
- The language is found when a text is used, never when a file is imported: one process speaks all of them at once, and
  what refreshes runs without `dashboard.page.layout`.
- English stands in the code. Each other language is a folder in `locale/`, and its `.po` file itself is what is read.
- What a catalogue lacks shows in English.
- Addresses, the database and the log hold codes, never a translated text.
"""

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

import streamlit as st
from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from streamlit.runtime.scriptrunner import get_script_run_ctx

ENGLISH: Final = "en"
FOLDER: Final = Path(__file__).parent / "locale"
DOMAIN: Final = "dashboard"
LANGUAGES: Final = tuple(sorted((ENGLISH, *(path.parts[-3] for path in FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.po")))))
"""The codes of all languages, English among them."""

COOKIE: Final = "dashfleet-language"
PARAMETER: Final = "lang"
CHOSEN: Final = "language.chosen"
"""In the session of a visitor who chose a language: its code."""

_FOUND: Final = "language.found"
_ENGLISH_FORMATS: Final = Locale("en", "GB")
"""A day before its month and 24 hours, as in the other languages."""

_spoken: Final[ContextVar[str]] = ContextVar("spoken", default="")
_heard: Final[ContextVar[str]] = ContextVar("heard", default="")
"""The language of the session whose script this thread runs: Streamlit's session state is too slow for every text."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A text in a constant. It is no `str`, so that none is drawn without `_`."""

    message: str


def marked(message: str) -> Marked:
    """Mark a text in a constant for the catalogues; `_` translates it where it is used."""
    return Marked(message)


def _(message: str | Marked, /, **values: object) -> str:
    """A text in the language of whom it is drawn for, with these values in it."""
    text = message.message if isinstance(message, Marked) else message
    return _filled(_catalogue(current()).gettext(text) if text else "", values)


def ngettext(one: str, many: str, n: int, /, **values: object) -> str:
    """A text with a number, in the form that the language has for it; `{n}` in it is the number."""
    shown = format_decimal(n, locale=locale())
    return _filled(_catalogue(current()).ngettext(one, many, n), {"n": shown, **values})


def pgettext(context: str, message: str, /, **values: object) -> str:
    """A text whose English has several meanings; the context says which."""
    return _filled(_catalogue(current()).pgettext(context, message), values)


def current() -> str:
    """The code of the language of whom a text is drawn for now; English where it is for nobody."""
    if _spoken.get():
        return _spoken.get()
    if _heard.get():
        return _heard.get()
    if get_script_run_ctx(suppress_warning=True) is None:
        return ENGLISH
    found = st.session_state.get(CHOSEN) or st.session_state.get(_FOUND)
    if found is None:
        found = known(st.context.cookies.get(COOKIE, "")) or accepted(st.context.locale or "")
        st.session_state[_FOUND] = found
    _heard.set(str(found))
    return str(found)


def choose(code: str) -> None:
    """Speak this language to the visitor from here on."""
    st.session_state[CHOSEN] = code
    _heard.set(code)


def choose_from_address() -> None:
    """Choose the language that the address names, and remove it from the address: the session keeps it."""
    if PARAMETER not in st.query_params:
        return
    asked = known(st.query_params[PARAMETER])
    del st.query_params[PARAMETER]
    if asked:
        choose(asked)


def locale() -> Locale:
    """How the current language writes dates and numbers."""
    return _locale(current())


def name_of(code: str) -> str:
    """What a language calls itself."""
    name = Locale.parse(code).get_language_name() or code
    return name[:1].upper() + name[1:]


def known(code: str) -> str:
    """The code, when it is that of a language that is here; an empty text when not."""
    return code if code in LANGUAGES else ""


def accepted(header: str) -> str:
    """The language for a browser that sends this as Accept-Language, or says that it speaks this one."""
    wanted = []
    for entry in header.split(",")[:20]:
        tag, _semicolon, quality = entry.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        wanted.append((-weight, tag.strip().lower().partition("-")[0]))
    return next((code for weight, code in sorted(wanted, key=lambda pair: pair[0]) if weight and known(code)), ENGLISH)


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak this language in what is called from here: for what is drawn outside of Streamlit."""
    token = _spoken.set(code)
    try:
        yield
    finally:
        _spoken.reset(token)


def load() -> None:
    """Read all catalogues, so that no visitor waits for it."""
    for code in LANGUAGES:
        _catalogue(code)


@lru_cache
def _catalogue(code: str) -> gettext.NullTranslations:
    if code == ENGLISH:
        return gettext.NullTranslations()
    with (FOLDER / code / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@lru_cache
def _locale(code: str) -> Locale:
    return _ENGLISH_FORMATS if code == ENGLISH else Locale.parse(code)


def _filled(text: str, values: dict[str, object]) -> str:
    return text.format(**values) if values else text
