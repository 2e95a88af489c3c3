"""The OpenAPI 3.1 document of the HTTP API, made from the models of the operations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dashboard.api.operation import Operation
from dashboard.api.parameters import is_list
from dashboard.api.problem import MEDIA_TYPE, ApiProblem
from dashboard.auth.middleware import API
from schemas.contract.topics import ID_PATTERN, MACHINE_MAX_LENGTH

_REFERENCE: Final = "#/components/schemas/"
_PREFIX: Final = re.compile(r"^Api(?=[A-Z])")
_EVENTS: Final = "/events"
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_PLACES: Final[Mapping[str, dict[str, Any]]] = {
    "machine": {"type": "string", "pattern": ID_PATTERN, "maxLength": MACHINE_MAX_LENGTH},
    "command": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
"""Schema of each placeholder of a path. What does not match it is answered as something that does not exist."""

_PROBLEMS: Final = {
    "400": "A parameter is not valid",
    "401": "The token is missing, unknown, expired or revoked",
    "404": "There is no such thing, or it belongs to another organisation",
    "429": "The token has used up its requests; the header Retry-After tells for how many seconds",
    "503": "The database cannot be read now, or the query exceeded its time limit",
}
_DESCRIPTION: Final = (
    "Read-only queries of the current state and of the past of an organisation's machines. The names and units are "
    "those of the MQTT contract: times are integer milliseconds UTC since 1970, a name ends in its unit, and null "
    "means that a value is unknown. Clients ignore fields that they do not know: later versions add some."
)


def make_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document, ready for JSON."""
    schemas = _schemas([*(each.answer for each in operations), ApiProblem])
    return {
        "openapi": "3.1.0",
        "info": {"title": "DashFleet HTTP API", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": API}],
        "security": [{"token": []}],
        "paths": {**{each.path: {"get": _operation(each)} for each in operations}, _EVENTS: {"get": _events()}},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "An API token"}},
            "responses": {status: _problem(text) for status, text in _PROBLEMS.items()},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    etag = {"ETag": {"schema": {"type": "string"}, "description": "For the header If-None-Match of a later request"}}
    found = _content("application/json", operation.answer.__name__)
    statuses = ("400", "401", "429", "503", *(("404",) if "{" in operation.path else ()))
    return {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.parameters)],
        "responses": {
            "200": {"description": "The answer", "headers": etag, "content": found},
            "304": {"description": "Not changed since the entity tag of If-None-Match", "headers": etag},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)},
        },
    }


def _events() -> dict[str, Any]:
    last = {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}}
    last["description"] = "The id of the last event that arrived: the stream goes on after it"
    return {
        "operationId": "streamEvents",
        "summary": "Stream changes of presence, alerts, commands and incidents as server-sent events",
        "parameters": [last],
        "responses": {
            "200": {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in ("400", "401", "429", "503")},
        },
    }


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PLACES[name]} for name in _PLACEHOLDER.findall(path)
    ]


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = _renamed(model.model_json_schema(by_alias=True, mode="validation", ref_template="{model}"))
    definitions = properties.get("$defs", {})
    found = []
    for name, field in model.model_fields.items():
        schema = dict(properties["properties"][field.alias or name])
        described = schema.pop("description", "")
        schema = _without_null(schema)
        if "$ref" in schema:
            schema = definitions[schema["$ref"]]
        parameter = {"name": field.alias or name, "in": "query", "required": False, "description": described}
        style = {"style": "form", "explode": True} if is_list(field.annotation) else {}
        found.append({**parameter, **style, "schema": {key: each for key, each in schema.items() if key != "title"}})
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be missing is never null."""
    choices = [each for each in schema.pop("anyOf", ()) if each.get("type") != "null"]
    if schema.get("default", ...) is None:
        del schema["default"]
    return {**(choices[0] if choices else {}), **schema}


def _schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    wanted = [(model, "serialization") for model in dict.fromkeys(models)]
    _places, found = models_json_schema(wanted, by_alias=True, ref_template=_REFERENCE + "{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = _renamed(found["$defs"])
    return {_PREFIX.sub("", name): schema for name, schema in sorted(definitions.items())}


def _renamed(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema with the names of models without the prefix Api, and docstrings as one paragraph."""
    if isinstance(value, dict):
        found = {name: _renamed(each) for name, each in value.items()}
        if isinstance(found.get("$ref"), str):
            place, slash, name = found["$ref"].rpartition("/")
            found["$ref"] = f"{place}{slash}{_PREFIX.sub('', name)}"
        if isinstance(found.get("title"), str):
            found["title"] = _PREFIX.sub("", found["title"])
        if isinstance(found.get("description"), str):
            found["description"] = " ".join(found["description"].split())
        return found
    return [_renamed(each) for each in value] if isinstance(value, list) else value


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": _content(MEDIA_TYPE, ApiProblem.__name__)}


def _content(media_type: str, model: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REFERENCE + _PREFIX.sub("", model)}}}
