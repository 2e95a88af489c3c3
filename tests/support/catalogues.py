"""The dashboard's catalogues: extraction of texts, and their update by `make messages`."""

import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT: Final = Path(__file__).parents[2]
LOCALE: Final = ROOT / "dashboard" / "i18n" / "locale"
_DATE: Final = datetime(2026, 11, 25, tzinfo=UTC)  # constant, so that only texts cause a difference
_KEYWORDS: Final = {"_": None, "marked": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}


def extracted() -> Catalog:
    """Return all marked texts of the dashboard's code in alphabetical order, with their files."""
    found = Catalog(project="DashFleet", charset="utf-8")
    texts = extract_from_dir(ROOT / "dashboard", keywords=_KEYWORDS)
    for file, _line, message, _comments, context in sorted(texts, key=lambda text: (_first(text[2]), text[0])):
        found.add(message, locations=[(f"dashboard/{file}", 0)], context=context)
    return found


def _first(message: str | tuple[str, ...]) -> str:
    return message if isinstance(message, str) else message[0]


def path(code: str) -> Path:
    """Return the path of a language's catalogue."""
    return LOCALE / code / "LC_MESSAGES" / "dashboard.po"


def catalogue(code: str) -> Catalog:
    """Read a language's catalogue."""
    return read_po(BytesIO(path(code).read_bytes()), locale=code)


def untranslated(text: Message) -> bool:
    """Return True if a plural form is missing or the text is fuzzy."""
    forms = text.string if isinstance(text.string, tuple) else (text.string,)
    return text.fuzzy or not all(forms)


def updated(code: str, template: Catalog) -> Catalog:
    """Return a language's catalogue with the current texts: new ones are empty, obsolete ones are removed."""
    old = catalogue(code) if path(code).exists() else Catalog(locale=code)
    comment = (
        f"# DashFleet's dashboard in {Locale.parse(code).english_name}. `make messages` adds and removes texts here."
    )
    new = Catalog(locale=code, project="DashFleet", header_comment=comment, charset="utf-8", fuzzy=False)
    new.creation_date = new.revision_date = _DATE
    new.version = new.last_translator = new.language_team = new.msgid_bugs_address = ""
    for text in template:
        if text.id:
            known = old.get(text.id, text.context)
            kept = known.string if known is not None and known.id == text.id else None
            new.add(text.id, kept, locations=text.locations, flags=text.flags, context=text.context)
    return new


def main() -> None:
    """Update all catalogues, create those that are named, and print the number of untranslated texts."""
    template = extracted()
    for code in sorted({each.name for each in LOCALE.iterdir()} | set(sys.argv[1:])):
        new = updated(code, template)
        path(code).parent.mkdir(parents=True, exist_ok=True)
        with path(code).open("wb") as file:
            write_po(file, new, width=0, include_lineno=False)
        empty = sum(untranslated(text) for text in new if text.id)
        print(f"{code}: {len(new)} texts, {empty} to translate")


if __name__ == "__main__":
    main()
