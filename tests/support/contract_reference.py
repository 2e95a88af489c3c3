"""Write `docs/asyncapi.json` and `docs/contract.schema.json`, as `dashfleet contract` prints them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.access.asyncapi import asyncapi_document
from schemas.description.json_schemas import schema_document

DOCS = Path(__file__).parents[2] / "docs"


def documents() -> Mapping[Path, dict[str, Any]]:
    """Return the documents by their files."""
    return {DOCS / "asyncapi.json": asyncapi_document(), DOCS / "contract.schema.json": schema_document()}


def written(document: object) -> str:
    """Return the content of a file."""
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    for path, content in documents().items():
        path.write_text(written(content))
