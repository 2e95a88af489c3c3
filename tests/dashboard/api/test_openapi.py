"""The OpenAPI document is valid, current, and served."""

import json

import openapi_document
import pytest
from http_api import HttpApi
from jsonschema import Draft202012Validator
from seeding import Fleet

from dashboard.api import resources
from dashboard.api.operation import Operation, discover
from dashboard.api.parameters import is_list

DOCUMENT = json.loads(openapi_document.DOCUMENT.read_text())
OPERATIONS = discover(resources)


def test_the_committed_document_is_current() -> None:
    assert openapi_document.document() == openapi_document.DOCUMENT.read_text(), "run `make reference`"


def test_the_document_is_served_to_everybody(api: HttpApi, fleet: Fleet) -> None:  # noqa: ARG001
    answer = api.client.get("/api/v1/openapi.json")
    assert (answer.status_code, answer.json()) == (200, DOCUMENT)
    again = api.client.get("/api/v1/openapi.json", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert api.client.post("/api/v1/openapi.json").status_code == 405


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_json_schema_of_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
def test_every_parameter_is_described_and_bounded(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path]["get"]
    assert described["operationId"] == operation.id
    in_query = {each["name"]: each for each in described["parameters"] if each["in"] == "query"}
    assert set(in_query) == {field.alias or name for name, field in operation.parameters.model_fields.items()}
    for name, field in operation.parameters.model_fields.items():
        parameter = in_query[field.alias or name]
        assert parameter["description"], name
        assert is_bounded(parameter["schema"]), parameter
        assert (parameter["schema"].get("type") == "array") == is_list(field.annotation)


def is_bounded(schema: dict[str, object]) -> bool:
    kind = schema.get("type")
    if "enum" in schema or kind == "boolean":
        return True
    if kind == "integer":
        return {"minimum", "maximum"} <= set(schema)
    if kind == "array":
        items = schema["items"]
        return "maxItems" in schema and isinstance(items, dict) and is_bounded(items)
    return "maxLength" in schema or ("pattern" in schema and "*" not in str(schema["pattern"]))
