"""The user's language, and translation into it.

    _("No incident")                                      a text, where it is used
    _("Updated {at}", at=...)                             with named values
    ngettext("{n} machine", "{n} machines", count)        with a number, formatted by the language
    pgettext("network", "Sent")                           where an English word has several meanings
    _NONE: Final = marked("No incident")                  in a constant; `_(_NONE)` where it is used

Invariants:
- The language is determined when a text is used, never at import: one process serves all languages at once, and a
  refresh runs without `dashboard.page.layout`.
- The code contains English. Each other language is a folder in `locale/`, whose `.po` file is read as it is.
- A text that a catalogue lacks is shown in English.
- Addresses, the database and the log contain codes, never translated text.
"""

import gettext
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, wraps
from io import BytesIO
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

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
"""The codes of all languages, including English."""

COOKIE: Final = "dashfleet-language"
PARAMETER: Final = "lang"
CHOSEN: Final = "language.chosen"
"""In the session state: the code of the language that the user chose."""

P = ParamSpec("P")
T = TypeVar("T")
_FOUND: Final = "language.found"
_ENGLISH_FORMATS: Final = Locale("en", "GB")
"""The day before the month and 24 hours, as in the other languages."""

_spoken: Final[ContextVar[str]] = ContextVar("spoken", default="")
_heard: Final[ContextVar[str]] = ContextVar("heard", default="")
"""The language of the session whose script this thread runs: Streamlit's session state is too slow for each text."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A text in a constant. It is no `str`, so that it cannot be shown without `_`."""

    message: str


def marked(message: str) -> Marked:
    """Mark a text in a constant for extraction; `_` translates it where it is used."""
    return Marked(message)


def _(message: str | Marked, /, **values: object) -> str:
    """Translate a text into the current language and insert the values."""
    text = message.message if isinstance(message, Marked) else message
    return _filled(_catalogue(current()).gettext(text) if text else "", values)


def ngettext(one: str, many: str, n: int, /, **values: object) -> str:
    """Translate a text with a number into the plural form of the current language; `{n}` is the number."""
    shown = format_decimal(n, locale=locale())
    return _filled(_catalogue(current()).ngettext(one, many, n), {"n": shown, **values})


def pgettext(context: str, message: str, /, **values: object) -> str:
    """Translate a text whose English has several meanings; the context selects one."""
    return _filled(_catalogue(current()).pgettext(context, message), values)


def kept_by_language(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Cache the last `most` results of a function that depends on its arguments and the current language alone.

    Nobody changes a result: all visitors share it.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @lru_cache(maxsize=most)
        def kept(_language: str, *given: P.args, **named: P.kwargs) -> T:
            return function(*given, **named)

        @wraps(function)
        def found(*given: P.args, **named: P.kwargs) -> T:
            return kept(current(), *given, **named)  # type: ignore[arg-type]  # they are hashable

        return found

    return decorate


def current() -> str:
    """Return the code of the current user's language; English outside of a request."""
    if said := _spoken.get() or _heard.get():
        return said
    if get_script_run_ctx(suppress_warning=True) is None:
        return ENGLISH
    found = st.session_state.get(CHOSEN) or st.session_state.get(_FOUND)
    if found is None:
        found = known(st.context.cookies.get(COOKIE, "")) or accepted(st.context.locale or "")
        st.session_state[_FOUND] = found
    _heard.set(str(found))
    return str(found)


def choose(code: str) -> None:
    """Set the language of the visitor's session."""
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
    """Return the current language's formats of dates and numbers."""
    return _locale(current())


def name_of(code: str) -> str:
    """Return the name of a language in that language."""
    name = Locale.parse(code).get_language_name() or code
    return name[:1].upper() + name[1:]


def known(code: str) -> str:
    """Return the code if the language is available, else an empty string."""
    return code if code in LANGUAGES else ""


def accepted(header: str) -> str:
    """Return the best available language for an Accept-Language header, or a single language tag."""
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
    """Use a language within the context, for text outside of Streamlit."""
    token = _spoken.set(code)
    try:
        yield
    finally:
        _spoken.reset(token)


def load() -> None:
    """Read all catalogues, so that no visitor waits for them."""
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
