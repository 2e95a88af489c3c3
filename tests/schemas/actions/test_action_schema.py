import json
from contextlib import suppress
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from schemas.actions.action_schema import ArgumentError, common_fields, find_fault, parse_arguments, read_fields

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "title": "Text", "minLength": 1, "maxLength": 5},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number"},
        "loud": {"type": "boolean", "default": False},
        "level": {"enum": ["info", "warning"], "type": "string"},
        "labels": {"type": "object"},
    },
    "required": ["text"],
}


class Model(BaseModel):
    """Arguments of every supported kind."""

    interval_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = Field(None, description="Between two samples")
    kind: Literal["soft", "hard"] = "soft"
    labels: dict[str, str] | None = None


def test_words_become_values_of_the_types_that_the_schema_names() -> None:
    words = {"text": "héé", "count": "3", "share": "0.5", "loud": "yes", "level": "info", "labels": '{"a": "b"}'}
    assert parse_arguments(read_fields(SCHEMA), words) == {
        "text": "héé",
        "count": 3,
        "share": 0.5,
        "loud": True,
        "level": "info",
        "labels": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({}, "the argument text is missing"),
        ({"text": ""}, "text must have 1 character at least"),
        ({"text": "toolong"}, "text must have 5 characters at most"),
        ({"text": "a", "count": "x"}, "count must be a whole number"),
        ({"text": "a", "count": "1.5"}, "count must be a whole number"),
        ({"text": "a", "count": "0"}, "count must be at least 1"),
        ({"text": "a", "count": "10"}, "count must be at most 9"),
        ({"text": "a", "share": "nan"}, "share must be a number"),
        ({"text": "a", "loud": "maybe"}, "loud must be true or false"),
        ({"text": "a", "level": "loud"}, "level must be one of info, warning"),
        ({"text": "a", "labels": "{"}, "labels must be JSON"),
        ({"text": "a", "labels": "NaN"}, "labels must be JSON"),
        ({"text": "a", "other": "b"}, "there is no argument other"),
    ],
)
def test_what_is_wrong_is_said_with_the_arguments_name(words: dict[str, str], sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        parse_arguments(read_fields(SCHEMA), words)


def test_what_pydantic_writes_is_understood() -> None:
    interval, kind, labels = read_fields(Model.model_json_schema())
    assert (interval.kind, interval.most, interval.description) == ("number", 86_400, "Between two samples")
    assert (kind.choices, kind.default) == (("soft", "hard"), "soft")
    assert labels.kind == "json"


def test_of_several_machines_only_what_all_take_is_asked_for() -> None:
    one = {"properties": {"name": {"enum": ["a", "b"]}, "extra": {"type": "string"}}, "required": ["name"]}
    other = {"properties": {"name": {"enum": ["b", "c"]}}, "required": ["name"]}
    (name,) = common_fields([one, other])
    assert name.choices == ("b",)
    assert find_fault(other, {"name": "a"}) == "name must be one of b, c"
    assert find_fault(other, {"name": "b"}) == ""
    assert common_fields([]) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(["type", "enum", "const", "anyOf", "allOf", "$ref", "default", "minimum", "maxLength", "title"])


@given(st.dictionaries(st.text(max_size=4), JSON | st.dictionaries(WORDS, JSON, max_size=6), max_size=4), JSON, JSON)
def test_whatever_a_machine_sends_as_a_schema_is_read_without_an_error(
    properties: dict[str, Any],
    required: object,
    definitions: object,
) -> None:
    schema = {"properties": properties, "required": required, "$defs": definitions}
    for field in read_fields(schema):
        json.dumps(field.choices)
        with suppress(ArgumentError):
            field.parse("1")
    find_fault(schema, {"a": 1})
