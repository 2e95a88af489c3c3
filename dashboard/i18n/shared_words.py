"""What the code that all parts share says in English, such as why a value cannot be taken. A test keeps it whole."""

from typing import Final

from dashboard.i18n.language import _, marked
from runtime.translatable import Translatable

WORDS: Final = (
    marked("the argument {name} is missing: {what}"),
    marked("{argument} is missing"),
    marked("there is no argument {name}"),
    marked("{name} must be JSON, such as {example}"),
    marked("{name} must be a number"),
    marked("{name} must be a whole number"),
    marked("{name} must be at least {least}"),
    marked("{name} must be at most {most}"),
    marked("{name} must be one of {choices}"),
    marked("{name} must be text"),
    marked("{name} must be true or false"),
    marked("{name} must have 1 character at least"),
    marked("{name} must have 1 character at most"),
    marked("{name} must have {n} characters at least"),
    marked("{name} must have {n} characters at most"),
    marked("{text} is no length of time: write it as 90s, 15m, 1h or 7d"),
)


def retold(said: str | Exception) -> str:
    """A sentence, or that of an error, in the current language where its words are known."""
    sentence = said.args[0] if isinstance(said, Exception) and said.args else said
    return _(sentence.template, **sentence.values) if isinstance(sentence, Translatable) else str(said)
