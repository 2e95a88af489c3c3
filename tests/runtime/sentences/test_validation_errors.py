"""Validation errors as sentences."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from runtime.sentences.validation_errors import FieldError, first_sentence, read_problems
from schemas.contract.administration import AddToken
from schemas.contract.alert_rules import AlertRule
from schemas.contract.alerts import AddSilence
from schemas.people.routing import Route

NAMES = {"lifetime_seconds": "--for", "weekly": "--weekly", "weekly.zone": "--zone", "selector.labels": "--label"}


def refused(model: type[BaseModel], fields: dict[str, Any]) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    return caught.value


def weekly(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"weekly": {"days": ["mon"], "start": "22:00", "end": "02:00", "zone": "UTC", **fields}}


@pytest.mark.parametrize(
    ("fields", "sentence", "named"),
    [
        (
            {"lifetime_seconds": 10**9},
            "lifetime_seconds must be at most 2592000",
            "--for must be at most 30 d",
        ),
        ({"lifetime_seconds": 0}, "lifetime_seconds must be at least 1", "--for must be at least 1 s"),
        ({"lifetime_seconds": 1.5}, "lifetime_seconds must be a whole number", "--for must be a whole number"),
        ({"reason": ""}, "reason must have 1 character at least", "reason must have 1 character at least"),
        ({"reason": "x" * 501}, "reason must have 500 characters at most", "reason must have 500 characters at most"),
        ({"reason": 7}, "reason must be text", "reason must be text"),
        (weekly(days=[]), "weekly.days must have 1 entry at least", "--weekly must have 1 entry at least"),
        (weekly(start="25:00"), "weekly.start must be a time such as 22:00", "--weekly must be a time such as 22:00"),
        (
            weekly(days=["monday"]),
            "weekly.days.0 must be one of mon, tue, wed, thu, fri, sat, sun",
            "--weekly must be one of mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            weekly(zone="Mars"),
            "weekly.zone: there is no time zone 'Mars': write a name such as Europe/Paris",
            "--zone: there is no time zone 'Mars': write a name such as Europe/Paris",
        ),
        (
            {"selector": {"labels": {"K": "x"}}},
            "selector.labels.K must be lower-case letters, digits and inner hyphens",
            "--label must be lower-case letters, digits and inner hyphens",
        ),
        (
            {"lifetime_seconds": 60, **weekly()},
            "a silence has either a lifetime or a weekly schedule",
            "a silence has either a lifetime or a weekly schedule",
        ),
    ],
)
def test_a_refused_field_is_named_with_what_is_permitted(fields: dict[str, Any], sentence: str, named: str) -> None:
    error = refused(AddSilence, {"reason": "maintenance", **fields})
    assert (first_sentence(error), first_sentence(error, NAMES)) == (sentence, named)


def test_a_missing_field_is_named() -> None:
    assert [each.sentence for each in read_problems(refused(AddToken, {"kind": "add-token"}))] == [
        f"{name} is missing" for name in ("name", "secret_hash", "uses", "lifetime_seconds")
    ]


def test_an_unknown_field_is_named() -> None:
    assert first_sentence(refused(Route, {"until": 5})) == "until is not known here"


def test_an_error_about_several_fields_names_the_one_to_correct() -> None:
    (problem,) = read_problems(refused(AlertRule, {"name": "x", "title": "x", "kind": "above"}))
    assert (problem.field, problem.sentence) == ("metric", "a rule of kind above needs a metric")
    assert isinstance(FieldError("metric", "x"), ValueError)


def test_what_is_not_json_is_refused_without_a_field() -> None:
    with pytest.raises(ValidationError) as caught:
        AddSilence.model_validate_json(b"{")
    (problem,) = read_problems(caught.value)
    assert problem.field == ""
    assert problem.sentence.startswith("Invalid JSON")
