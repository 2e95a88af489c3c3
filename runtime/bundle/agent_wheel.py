"""The wheel of the agent: the parts of this installation that a machine needs, and no others.

Invariants:
- The same source gives the same bytes, so that the hash identifies what a machine runs.
- Dependencies have the versions that were tested: those of `agent-requirements.txt`.
"""

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import runtime
from runtime.version import VERSION

CONTENT = (
    "dashfleet.py",
    "agent",
    "broker/__init__.py",
    "broker/access",
    "broker/client",
    "cli",
    "runtime",
    "schemas/__init__.py",
    "schemas/actions",
    "schemas/contract",
    "schemas/fleet",
    "schemas/relocation",
)
REQUIREMENTS = Path(__file__).with_name("agent-requirements.txt")
"""The pinned dependencies, which `make requirements` writes."""

NAME = f"dashfleet_agent-{VERSION}-py3-none-any.whl"
_INFO = f"dashfleet_agent-{VERSION}.dist-info"
_SOURCE = Path(runtime.__file__).parents[1]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^ ;\\]+)(?: ; ([^\\]+?))? *\\?$", re.MULTILINE)


def build(requirements: str) -> bytes:
    """Return the wheel. `requirements`: the pinned dependencies."""
    content = {name: (_SOURCE / name).read_bytes() for name in _names()}
    content[f"{_INFO}/METADATA"] = _metadata(requirements).encode()
    content[f"{_INFO}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: dashfleet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{_INFO}/entry_points.txt"] = b"[console_scripts]\ndashfleet = dashfleet:main\n"
    record = f"{_INFO}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    content[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return written.getvalue()


def read_requirements() -> str:
    """Return the pinned dependencies of the agent, with hashes."""
    return REQUIREMENTS.read_text()


def _names() -> Iterator[str]:
    for name in CONTENT:
        path = _SOURCE / name
        files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        for file in files:
            if "__pycache__" not in file.parts and file.suffix != ".pyc":
                yield file.relative_to(_SOURCE).as_posix()


def _metadata(requirements: str) -> str:
    pins = [f"Requires-Dist: {pin}{f' ; {marker}' if marker else ''}" for pin, marker in _PIN.findall(requirements)]
    head = ["Metadata-Version: 2.1", "Name: dashfleet-agent", f"Version: {VERSION}", "Requires-Python: >=3.11"]
    return "\n".join([*head, "License-Expression: Apache-2.0", *pins, ""])


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
