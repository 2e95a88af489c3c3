"""Writes docs/openapi.json: the OpenAPI document of the HTTP API."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "openapi.json"


def document() -> str:
    """Return the document as indented JSON."""
    from dashboard.api import resources
    from dashboard.api.openapi import make_document
    from dashboard.api.operation import discover

    return json.dumps(make_document(discover(resources)), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    DOCUMENT.write_text(document(), encoding="utf-8")
