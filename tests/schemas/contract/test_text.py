"""Every text of every message is of a type that both databases can store."""

import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from schemas.contract import ack, administration, backfill, commands, enrolment, facts, messages, org_config, signing
from schemas.contract.messages import ContractModel
from schemas.contract.text import REPLACEMENT

MODULES = (messages, backfill, facts, ack, org_config, enrolment, administration, commands, signing)
MODELS = [
    model
    for module in MODULES
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, ContractModel) and model.__module__ == module.__name__
]
INFO = {
    "session": 1, "at": 1, "hostname": "h", "agent_version": "1", "python_version": "3", "interval_seconds": 10,
}  # fmt: skip


def plain_texts(kind: Any, metadata: tuple[Any, ...]) -> Iterator[Any]:  # noqa: ANN401 - any annotation
    """Yield the parts of an annotation that accept any text."""
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        yield from plain_texts(inner, (*metadata, *more))
    elif get_origin(kind) in (Union, types.UnionType, tuple, list, dict):
        for part in get_args(kind):
            yield from plain_texts(part, metadata if get_origin(kind) in (Union, types.UnionType) else ())
    elif kind in (str, Any):
        flat = [each for some in metadata for each in (some.metadata if isinstance(some, FieldInfo) else [some])]
        if not any(isinstance(each, AfterValidator) or getattr(each, "pattern", None) for each in flat):
            yield kind
    elif get_origin(kind) is not Literal and isinstance(kind, type):
        assert not issubclass(kind, BaseModel) or issubclass(kind, ContractModel)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_message_has_a_plain_text(model: type[ContractModel]) -> None:
    for name, field in model.model_fields.items():
        assert not list(plain_texts(field.annotation, tuple(field.metadata))), f"{model.__name__}.{name}"


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "a\x85b"])
def test_control_characters_are_replaced_also_inside_json(text: str) -> None:
    schema = {"type": "object", "title": text, "enum": [text, {text: 1}]}
    action = {"name": "ping", "title": text, "arguments_schema": schema}
    info = messages.Info.decode(
        json.dumps({**INFO, "hostname": text, "labels": {"site": text}, "actions": [action]}).encode()
    )
    clean = f"a{REPLACEMENT}b"
    assert (info.hostname, info.labels["site"], info.actions[0].title) == (clean, clean, clean)
    assert info.actions[0].arguments_schema == {"type": "object", "title": clean, "enum": [clean, {clean: 1}]}


def test_output_keeps_its_lines() -> None:
    result = {"session": 1, "id": "0" * 32, "state": "succeeded", "at": 1, "output": "one\n\ttwo\r\n\x00"}
    assert commands.Result.decode(json.dumps(result).encode()).output == f"one\n\ttwo\r\n{REPLACEMENT}"


def test_what_is_signed_is_rejected_instead() -> None:
    order = {
        "kind": "order", "id": "0" * 32, "org": "home", "machine": "attic", "action": "message",
        "arguments": {"text": "a\x00b"}, "issued_at": 1, "expires_at": 2,
    }  # fmt: skip
    with pytest.raises(ValidationError, match="control character"):
        commands.Order.model_validate_json(json.dumps(order))
