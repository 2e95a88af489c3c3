"""Validation errors of pydantic as sentences for people, the same in the dashboard, the command line and answers.

Invariant: a sentence names its field, as in the message or as the caller shows it, and says what is permitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from runtime.durations import duration
from runtime.translatable import Translatable

if TYPE_CHECKING:
    from pydantic import ValidationError

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_SECONDS: Final = "_seconds"
_AT_LEAST, _AT_MOST = "{name} must be at least {least}", "{name} must be at most {most}"
_ABOVE, _BELOW = "{name} must be more than {least}", "{name} must be less than {most}"
_BOUNDS: Final = {
    "greater_than_equal": (_AT_LEAST, "least", "ge"),
    "less_than_equal": (_AT_MOST, "most", "le"),
    "greater_than": (_ABOVE, "least", "gt"),
    "less_than": (_BELOW, "most", "lt"),
}
_TYPES: Final = {
    "int": "{name} must be a whole number",
    "float": "{name} must be a number",
    "finite": "{name} must be a number",
    "string": "{name} must be text",
    "bool": "{name} must be true or false",
}
"""By the first word of pydantic's type of the error: `int_type`, `int_from_float`, `finite_number`."""

_PATTERNS: Final = {
    "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": "{name} must be lower-case letters, digits and inner hyphens",
    "^[a-z][a-z0-9_]{0,62}$": "{name} must be lower-case letters, digits and underscores, beginning with a letter",
    "^([a-z][a-z0-9_]{0,62})?$": "{name} must be lower-case letters, digits and underscores, beginning with a letter",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": "{name} must be a time such as 22:00",
    "^[A-Za-z0-9_+/-]+$": "{name} must be a time zone such as Europe/Paris",
}
_CHARACTERS: Final = {
    "short": ("{name} must have 1 character at least", "{name} must have {n} characters at least"),
    "long": ("{name} must have 1 character at most", "{name} must have {n} characters at most"),
}
_ENTRIES: Final = {
    "short": ("{name} must have 1 entry at least", "{name} must have {n} entries at least"),
    "long": ("{name} must have 1 entry at most", "{name} must have {n} entries at most"),
}


class FieldError(ValueError):
    """A check of several fields failed because of one of them: `field`, as it is named in the message."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A field, such as `weekly.start` (empty: the message as a whole), and a sentence that names it."""

    field: str
    sentence: str


def read_problems(error: "ValidationError", names: Mapping[str, str] = _NOTHING) -> list[FieldProblem]:
    """Return all problems. `names`: what the reader knows fields as, such as `--for` for `lifetime_seconds`.

    A field without a name there has its own; a check of a field with the name "" speaks for itself.
    """
    return [_problem(each, names) for each in error.errors(include_url=False)]


def first_sentence(error: "ValidationError", names: Mapping[str, str] = _NOTHING) -> str:
    """Return the sentence of the first problem."""
    return read_problems(error, names)[0].sentence


def _problem(found: Any, names: Mapping[str, str]) -> FieldProblem:  # noqa: ANN401 - pydantic's details of an error
    raised = found.get("ctx", {}).get("error")
    field = ".".join(str(level) for level in found["loc"] if level != "[key]")
    if isinstance(raised, FieldError):
        return FieldProblem(f"{field}.{raised.field}" if field else raised.field, _own_sentence(raised))
    name = _name(field, names)
    if isinstance(raised, Exception):
        said = _own_sentence(raised)
        return FieldProblem(field, f"{name}: {said}" if name else said)
    return FieldProblem(field, _sentence(found, name) or _of_pydantic(found, name))


def _name(field: str, names: Mapping[str, str]) -> str:
    """Return what the reader knows a field as, or else the field that it is a part of."""
    part = field
    while part and part not in names:
        part = part.rpartition(".")[0]
    return names[part] if part else field


def _own_sentence(raised: Exception) -> str:
    said = raised.args[0] if raised.args else ""
    return said if isinstance(said, str) else str(raised)


def _sentence(found: Any, name: str) -> str:  # noqa: ANN401 - as above
    """Return a sentence for the common errors of a field, empty for another one."""
    kind, context = str(found["type"]), found.get("ctx", {})
    word, _, rest = kind.partition("_")
    if not name:
        return ""
    if kind == "missing":
        return Translatable("{argument} is missing", argument=name)
    if kind == "extra_forbidden":
        return Translatable("{name} is not known here", name=name)
    if kind in _BOUNDS:
        template, side, key = _BOUNDS[kind]
        return Translatable(template, name=name, **{side: _bound(found["loc"], name, context[key])})
    if kind in ("literal_error", "enum"):
        choices = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        return Translatable("{name} must be one of {choices}", name=name, choices=choices)
    if kind == "string_pattern_mismatch":
        template = _PATTERNS.get(context["pattern"], "")
        return Translatable(template, name=name) if template else ""
    side = rest.removeprefix("too_")
    if side in _CHARACTERS:
        return _length(found, name, side, context[f"{'min' if side == 'short' else 'max'}_length"])
    return Translatable(_TYPES[word], name=name) if word in _TYPES else ""


def _bound(place: tuple[int | str, ...], name: str, bound: float) -> str:
    """Return a bound; of seconds as a duration, unless the name says that they are seconds."""
    if str(place[-1]).endswith(_SECONDS) and not name.endswith(_SECONDS):
        return duration(bound)
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _length(found: Any, name: str, side: str, bound: int) -> Translatable:  # noqa: ANN401 - as above
    of_text = isinstance(found["input"], str)
    one, many = (_CHARACTERS if of_text else _ENTRIES)[side]
    return Translatable(one if bound == 1 else many, name=name, n=bound)


def _of_pydantic(found: Any, name: str) -> str:  # noqa: ANN401 - as above
    message = str(found["msg"])
    return f"{name}: {message}" if name else message
