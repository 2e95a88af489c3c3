"""Arguments of an action according to its JSON Schema: the fields to ask for, and the check of values.

Used to parse words of a command line and to make forms. It understands what pydantic writes for a flat model; the rest
of a schema is left to the machine, which checks all arguments again.

Invariants:
- A schema comes from a machine: reading it never raises, whatever it contains, and its patterns are never executed.
- An invalid value is rejected with a sentence that names the argument.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final

from runtime.translatable import Translatable

FIELDS_MAX: Final = 32
CHOICES_MAX: Final = 200
_EXAMPLE: Final = '{"site": "paris"}'
_TYPES: Final = ("string", "integer", "number", "boolean")
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


class ArgumentError(ValueError):
    """An argument is missing, unknown or invalid; the message is one sentence.

    `argument`: its name, if the action has it. `machine`: the one that rejects it.
    """

    def __init__(self, sentence: str, *, argument: str = "", machine: str = "") -> None:
        super().__init__(sentence)
        self.argument = argument
        self.sentence = sentence
        self.machine = machine


@dataclass(frozen=True, slots=True)
class ArgumentField:
    """An argument. `kind` is a JSON type, or `json` for any value. `choices`, if any, are the only valid values."""

    name: str
    title: str
    kind: str
    required: bool = False
    default: Any = None
    description: str = ""
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    min_length: int | None = None
    max_length: int | None = None

    def parse(self, text: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the value of a text. Raises ArgumentError."""
        return self.checked(self._typed(text))

    def checked(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Return the value. Raises ArgumentError if it is invalid."""
        if wrong := self.fault(value):
            raise ArgumentError(wrong, argument=self.name)
        return value

    def fault(self, value: Any) -> str:  # noqa: ANN401 - any JSON value
        """Return a sentence about an invalid value; empty for a valid one."""
        if self.choices:
            known = any(value == choice and type(value) is type(choice) for choice in self.choices)
            choices = ", ".join(map(str, self.choices))
            return "" if known else self._must("{name} must be one of {choices}", choices=choices)
        match self.kind:
            case "boolean":
                return "" if isinstance(value, bool) else self._must("{name} must be true or false")
            case "integer" | "number":
                return self._number_fault(value)
            case "string":
                return self._text_fault(value)
        return ""

    def _must(self, template: str, **values: object) -> Translatable:
        return Translatable(template, name=self.name, **values)

    def _typed(self, text: str) -> Any:  # noqa: ANN401 - any JSON value
        if self.choices:
            return next((choice for choice in self.choices if str(choice) == text), text)
        match self.kind:
            case "boolean" if text.lower() in (*_TRUE, *_FALSE):
                return text.lower() in _TRUE
            case "integer" | "number":
                return _number(text, whole=self.kind == "integer")
            case "json":
                return self._json(text)
        return text

    def _json(self, text: str) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise ArgumentError(
                self._must("{name} must be JSON, such as {example}", example=_EXAMPLE), argument=self.name
            ) from None

    def _number_fault(self, value: Any) -> str:  # noqa: ANN401 - any JSON value
        whole = self.kind == "integer"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not isfinite(value):
            return self._must("{name} must be a whole number" if whole else "{name} must be a number")
        if self.least is not None and value < self.least:
            return self._must("{name} must be at least {least}", least=f"{self.least:g}")
        if self.most is not None and value > self.most:
            return self._must("{name} must be at most {most}", most=f"{self.most:g}")
        return ""

    def _text_fault(self, value: Any) -> str:  # noqa: ANN401 - any JSON value
        if not isinstance(value, str):
            return self._must("{name} must be text")
        if self.min_length is not None and len(value) < self.min_length:
            one, many = "{name} must have 1 character at least", "{name} must have {n} characters at least"
            return self._must(one if self.min_length == 1 else many, n=self.min_length)
        if self.max_length is not None and len(value) > self.max_length:
            one, many = "{name} must have 1 character at most", "{name} must have {n} characters at most"
            return self._must(one if self.max_length == 1 else many, n=self.max_length)
        return ""


def read_fields(schema: Mapping[str, Any]) -> tuple[ArgumentField, ...]:
    """Return the arguments of a schema in its order, without what cannot be read."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping):
        return ()
    wanted = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    named = [(name, _resolved(inner, schema)) for name, inner in properties.items()][:FIELDS_MAX]
    return tuple(_field(name, inner, required=name in wanted) for name, inner in named)


def common_fields(schemas: Sequence[Mapping[str, Any]]) -> tuple[ArgumentField, ...]:
    """Return the arguments to ask for several machines: those of the first that all have, with common choices."""
    first, *others = [read_fields(schema) for schema in schemas] or [()]
    shared = []
    for field in first:
        twins = [next((twin for twin in other if twin.name == field.name), None) for other in others]
        if not field.required and None in twins:
            continue
        choices = [c for c in field.choices if all(twin is None or c in twin.choices for twin in twins)]
        shared.append(_with_choices(field, tuple(choices)) if field.choices else field)
    return tuple(shared)


def parse_arguments(known: Sequence[ArgumentField], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments given as name=value. Raises ArgumentError."""
    by_name = {field.name: field for field in known}
    for name in given:
        if name not in by_name:
            takes = f"it takes {', '.join(by_name)}" if by_name else "it takes none"
            raise ArgumentError(f"there is no argument {name}: {takes}")
    values = {name: by_name[name].parse(text) for name, text in given.items()}
    require_all(known, values)
    return values


def collect_arguments(fields: Sequence[ArgumentField], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a completed form, without those left empty. Raises ArgumentError."""
    values: dict[str, Any] = {}
    for each in fields:
        value = given.get(each.name)
        if value is None or (value == "" and not each.required):
            continue
        if value == "" and each.kind != "json":
            raise ArgumentError(Translatable("{argument} is missing", argument=each.title), argument=each.name)
        values[each.name] = each.parse(str(value)) if each.kind == "json" else each.checked(value)
    require_all(fields, values)
    return values


def require_all(known: Iterable[ArgumentField], values: Mapping[str, Any]) -> None:
    """Raise ArgumentError if a required argument is missing."""
    for field in known:
        if field.required and field.name not in values:
            missing = (
                "the argument {name} is missing: {what}" if field.description else "the argument {name} is missing"
            )
            sentence = Translatable(missing, name=field.name, what=field.description)
            raise ArgumentError(sentence, argument=field.name)


def find_fault(schema: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return a sentence about the first argument that the schema rejects; empty if it accepts all."""
    by_name = {field.name: field for field in read_fields(schema)}
    try:
        require_all(by_name.values(), values)
        for name, value in values.items():
            if name not in by_name:
                return Translatable("there is no argument {name}", name=name)
            by_name[name].checked(value)
    except ArgumentError as error:
        return error.sentence
    return ""


def _field(name: str, inner: Mapping[str, Any], *, required: bool) -> ArgumentField:
    kind = inner.get("type")
    choices = inner.get("enum", [inner["const"]] if "const" in inner else [])
    plain = isinstance(choices, list) and all(isinstance(choice, str | int | float | bool) for choice in choices)
    return ArgumentField(
        name=name,
        title=_text(inner.get("title"), 64) or name,
        kind=kind if kind in _TYPES else "json",
        required=required,
        default=inner.get("default"),
        description=_text(inner.get("description"), 500),
        choices=tuple(choices[:CHOICES_MAX]) if plain else (),
        least=_bound(inner, "minimum", "exclusiveMinimum"),
        most=_bound(inner, "maximum", "exclusiveMaximum"),
        min_length=_length(inner.get("minLength")),
        max_length=_length(inner.get("maxLength")),
    )


def _with_choices(field: ArgumentField, choices: tuple[Any, ...]) -> ArgumentField:
    return replace(field, choices=choices, default=field.default if field.default in choices else None)


def _resolved(inner: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ANN401 - JSON from a machine
    """Return a property without pydantic's wrapping: a reference into `$defs`, or an alternative of it and null."""
    if not isinstance(inner, Mapping):
        return {}
    outer = {name: value for name, value in inner.items() if name not in ("anyOf", "allOf", "$ref")}
    for several in ("anyOf", "allOf"):
        options = [option for option in _list(inner.get(several)) if option != {"type": "null"}]
        if len(options) == 1 and isinstance(options[0], Mapping):
            return {**_referred(options[0], schema), **outer}
    return {**_referred(inner, schema), **outer}


def _referred(inner: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference, definitions = inner.get("$ref"), schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, Mapping):
        found = definitions.get(reference.removeprefix("#/$defs/"))
        return found if isinstance(found, Mapping) else {}
    return inner


def _number(text: str, *, whole: bool) -> Any:  # noqa: ANN401 - the text itself if it is not a number
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return text


def _bound(inner: Mapping[str, Any], *names: str) -> float | None:
    found = [inner[name] for name in names if isinstance(inner.get(name), int | float)]
    return found[0] if found and not isinstance(found[0], bool) and isfinite(found[0]) else None


def _length(value: Any) -> int | None:  # noqa: ANN401 - JSON from a machine
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any, most: int) -> str:  # noqa: ANN401 - JSON from a machine
    return value[:most] if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - JSON from a machine
    return value if isinstance(value, list) else []


def _refuse(constant: str) -> None:
    raise ValueError(constant)
