"""`dashfleet contract`: print the contract in a form that programs read."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.output import show_json

app = typer.Typer()


class ContractFormat(StrEnum):
    """A machine-readable form of the contract."""

    ASYNCAPI = "asyncapi"
    JSON_SCHEMA = "jsonschema"


@app.command()
def contract(
    format_: Annotated[
        ContractFormat,
        typer.Option("--format", help="An AsyncAPI 3.0 document, or the JSON Schemas (2020-12) of all messages."),
    ] = ContractFormat.ASYNCAPI,
) -> None:
    """Print topics and messages as an AsyncAPI document or as JSON Schemas."""
    if format_ is ContractFormat.ASYNCAPI:
        from broker.access.asyncapi import asyncapi_document

        show_json(asyncapi_document())
    else:
        from schemas.description.json_schemas import schema_document

        show_json(schema_document())
