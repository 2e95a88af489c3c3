"""Text from outside: the only types of free text in messages.

Invariant: every accepted text can be stored and read back by SQLite and PostgreSQL, also inside JSON: it contains no
NUL, no other control character and no lone surrogate. They are replaced, or rejected where a replacement would break a
signature.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROLS_OF_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_line(text: str) -> str:
    """Replace control characters, with tabs and line breaks."""
    return text if text.isprintable() else _CONTROLS_OF_LINE.sub(REPLACEMENT, text)


def clean_text(text: str) -> str:
    """Replace control characters other than tabs and line breaks."""
    return text if text.isprintable() else _CONTROLS.sub(REPLACEMENT, text)


def clean_json(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Replace control characters in every text of a JSON value."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean_json(each) for each in value]
    if isinstance(value, dict):
        return {clean_text(name): clean_json(each) for name, each in value.items()}
    return value


def check_text(text: str) -> str:
    """Return the text. Raises ValueError if it contains control characters other than tabs and line breaks."""
    if clean_text(text) != text:
        raise ValueError("contains a control character")
    return text


def check_json(value: JsonValue) -> JsonValue:
    """Return the value. Raises ValueError if a text in it contains such control characters."""
    if clean_json(value) != value:
        raise ValueError("contains a control character")
    return value


Line = Annotated[str, AfterValidator(clean_line)]
"""One line for people."""

Lines = Annotated[str, AfterValidator(clean_text)]
"""Text of several lines."""

SignedText = Annotated[str, AfterValidator(check_text)]
"""Text that may not be changed."""

Json = Annotated[Any, AfterValidator(clean_json)]
SignedJson = Annotated[JsonValue, AfterValidator(check_json)]

TEXT_MAX_LENGTH = 256
Text = Annotated[Line, Field(max_length=TEXT_MAX_LENGTH)]
Title = Annotated[Line, Field(max_length=64)]
Code = Annotated[Line, Field(max_length=32)]
"""A code or the name of a unit."""
