"""Versions of the agents: what the server offers, and which machines are outdated."""

import hashlib
from pathlib import Path

import pytest

from dashboard.i18n import text
from dashboard.settings.sections.agent_versions import BundleOffer, _state
from runtime.bundle.manifest import BundleFile, Manifest


def manifest(version: str) -> Manifest:
    agent, pip, requirements = (BundleFile.of(name, b"x") for name in ("a.whl", "p.whl", "r.txt"))
    return Manifest(version, agent, pip, requirements)


def test_the_offer_is_the_version_of_the_bundle_with_the_hash_of_its_manifest(tmp_path: Path) -> None:
    assert BundleOffer.read(None) is None
    assert BundleOffer.read(tmp_path) is None
    content = manifest("0.3.0").encode()
    (tmp_path / "manifest.json").write_bytes(content)
    assert BundleOffer.read(tmp_path) == BundleOffer("0.3.0", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("0.2.9", "Outdated"),
        ("0.3.0rc1", "Outdated"),
        ("0.3.0", "Current"),
        ("0.4.0", "Not offered by this server"),
        ("my own agent <b>", "Not offered by this server"),
    ],
)
def test_an_older_version_is_outdated_and_what_is_newer_or_another_program_is_left_alone(
    version: str, state: str
) -> None:
    offer = BundleOffer("0.3.0", "0" * 64)
    assert _state(version, offer) == state
    assert offer.supersedes(version) == (state == "Outdated")
    assert _state(version, None) == text.UNKNOWN
