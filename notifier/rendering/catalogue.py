"""Texts of messages in the recipients' languages: one TOML file per language.

Invariant: every language has the keys of English (`tests/notifier/rendering`); `phrases` translates titles and details
of the rules that come with DashFleet, any other is shown as it is.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "languages"
LANGUAGES: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
ENGLISH: Final = "en"


@cache
def texts(language: str) -> Mapping[str, Any]:
    """Return the texts of a language; of English if it is unknown."""
    name = language if language in LANGUAGES else ENGLISH
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def phrase(language: str, text: str) -> str:
    """Return a title or detail in a language, or as it is."""
    return str(texts(language)["phrases"].get(text, text))
