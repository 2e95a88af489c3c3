"""The manifest: complete when read again, and refused when it names what no bundle has."""

import json
from typing import Any

import pytest

from runtime.bundle.manifest import BundleFile, Manifest, ManifestError

AGENT = BundleFile.of("dashfleet_agent-1.0-py3-none-any.whl", b"agent")
MANIFEST = Manifest(
    "1.0",
    AGENT,
    BundleFile.of("pip-25.0-py3-none-any.whl", b"pip"),
    BundleFile.of("requirements.txt", b"psutil"),
    ["linux-x86_64"],
    [BundleFile.of("psutil-7-cp36-abi3-manylinux_2_17_x86_64.whl", b"psutil")],
    [BundleFile.of("uv-linux-x86_64", b"uv")],
)


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert Manifest.decode(MANIFEST.encode()) == MANIFEST
    assert Manifest.decode(MANIFEST.encode()).encode() == MANIFEST.encode()


def test_an_environment_is_named_by_its_content() -> None:
    other = Manifest("1.0", BundleFile.of(AGENT.name, b"another"), MANIFEST.pip, MANIFEST.requirements)
    assert MANIFEST.environment.startswith("1.0-")
    assert MANIFEST.environment != other.environment
    assert Manifest("1.0", AGENT, other.pip, MANIFEST.requirements).environment == MANIFEST.environment


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"version": "../../etc"},
        {"agent": {"name": "../agent.whl", "sha256": AGENT.sha256, "size": 1}},
        {"agent": {"name": "agent.whl", "sha256": "../..", "size": 1}},
        {"agent": {"name": "agent.whl", "sha256": AGENT.sha256, "size": 10**12}},
        {"agent": {"name": "agent.whl", "sha256": AGENT.sha256, "size": "1"}},
        {"agent": None},
        {"wheels": [{}]},
        {"wheels": [{"name": "a", "sha256": AGENT.sha256, "size": 1}] * 3000},
    ],
)
def test_what_no_bundle_has_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        Manifest.decode(json.dumps({**json.loads(MANIFEST.encode()), **change}).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff", b"{"])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.decode(text)
