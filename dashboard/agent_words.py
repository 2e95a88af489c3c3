"""What our own agents say in English, and the pages in every language: titles and descriptions of what comes with them.

What another collector or action says is shown as it says it. A test holds that nothing of ours is missing here.
"""

from typing import Final

from dashboard.language import _, marked

WORDS: Final = frozenset(word.message for word in (marked("Configure"),))


def translated(said: str) -> str:
    """What an agent said, in the current language if it is known."""
    return _(said) if said in WORDS else said
