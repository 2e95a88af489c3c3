"""JSON Schemas (2020-12) of all messages, generated from the models.

A schema accepts unknown fields, as readers do. It cannot say everything: that the columns of a Backfill have one
length, or that a signature is valid, is in `docs/contract.md` only.
"""

from typing import Any

from pydantic.json_schema import models_json_schema

from schemas.description.payloads import PAYLOADS, message_name

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IDENTIFIER = "urn:dashfleet:contract:v1"

JsonSchema = dict[str, Any]


def message_schemas(ref_prefix: str = "#/$defs/") -> dict[str, JsonSchema]:
    """Return the schemas of all messages and their parts by name, which refer to each other below `ref_prefix`."""
    models = [(model, "validation") for model in dict.fromkeys(PAYLOADS.values())]
    _, document = models_json_schema(models, ref_template=f"{ref_prefix}{{model}}")  # type: ignore[arg-type]
    names = {model.__name__: message_name(model) for model in PAYLOADS.values()}
    found: dict[str, JsonSchema] = _renamed(document["$defs"], names, ref_prefix)
    return {names.get(name, name): found[name] for name in sorted(found, key=lambda name: names.get(name, name))}


def schema_document() -> JsonSchema:
    """Return one document with all schemas below `$defs`, which accepts every message of the contract."""
    schemas = message_schemas()
    names = sorted({message_name(model) for model in PAYLOADS.values()})
    return {
        "$schema": DIALECT,
        "$id": IDENTIFIER,
        "title": "DashFleet contract, version 1",
        "description": "Validate a payload against the schema below $defs that docs/contract.md names for its topic.",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in names],
        "$defs": schemas,
    }


def _renamed(value: Any, names: dict[str, str], ref_prefix: str) -> Any:  # noqa: ANN401 - any JSON
    """Return schemas with the documented names in references, and without what pydantic derives beside them."""
    if isinstance(value, list):
        return [_renamed(each, names, ref_prefix) for each in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, each in value.items():
        if name == "$ref":
            target = each.removeprefix(ref_prefix)
            found[name] = f"{ref_prefix}{names.get(target, target)}"
        elif name == "properties":
            found[name] = {key: _renamed(field, names, ref_prefix) for key, field in each.items()}
        elif name == "discriminator" or (name == "title" and isinstance(each, str)):
            continue  # the first is of OpenAPI, the second only repeats the name
        elif name in ("default", "const", "enum"):
            found[name] = each
        elif name == "description":
            found[name] = " ".join(each.split())
        else:
            found[name] = _renamed(each, names, ref_prefix)
    return found
