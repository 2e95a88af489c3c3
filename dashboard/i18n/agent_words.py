"""What our own agents say in English, and the pages in every language: titles and choices of what comes with them.

What another collector or action says is shown as it says it. A test holds that nothing of ours is missing here.
"""

from typing import Final

from dashboard.i18n.language import _, marked

_ACTIONS: Final = (
    marked("Configure"),
    marked("Ping"),
    marked("Reboot the machine"),
    marked("Restart the agent"),
    marked("Run a command"),
    marked("Sample now"),
    marked("Show a message"),
)
_ARGUMENTS: Final = (
    marked("Collectors Off"),
    marked("Command"),
    marked("Delay Seconds"),
    marked("Echo"),
    marked("Interval Seconds"),
    marked("Labels"),
    marked("Notice"),
    marked("Parameters"),
    marked("Text"),
    marked("Title"),
    marked("Urgency"),
    marked("low"),
    marked("normal"),
    marked("critical"),
)
WORDS: Final = frozenset(word.message for word in (*_ACTIONS, *_ARGUMENTS))


def translated(said: str) -> str:
    """What an agent said, in the current language if it is known."""
    return _(said) if said in WORDS else said
