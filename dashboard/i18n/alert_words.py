"""What our own alert rules say in English, and the pages in every language.

What another rule says is shown as it says it. A test holds that nothing of ours is missing here.
"""

from typing import Final

from dashboard.i18n.language import _, marked

_TITLES: Final = (
    marked("Away"),
    marked("CPU at its limit"),
    marked("Cannot measure"),
    marked("Disk nearly full"),
    marked("Memory nearly full"),
    marked("Wrong clock"),
)
_DETAILS: Final = (
    marked("the connection was lost"),
    marked("nothing was heard from it"),
    marked("nothing was heard from it for too long"),
    marked("CPU"),
    marked("Memory"),
    marked("Disk"),
)
WORDS: Final = frozenset(word.message for word in (*_TITLES, *_DETAILS))


def translated(said: str) -> str:
    """What a rule said, in the current language as far as it is known; its details may be a list."""
    return ", ".join(_(word) if word in WORDS else word for word in said.split(", "))
