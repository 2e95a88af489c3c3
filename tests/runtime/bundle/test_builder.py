"""Building a bundle: complete, kept equal to this installation, replaced as a whole."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from runtime.bundle import agent_wheel, builder, wheelhouse
from runtime.bundle.manifest import MANIFEST, BundleFile, Manifest
from runtime.errors import UserError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    builder.build(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_bundle_has_every_file_of_its_manifest_at_its_hash(bundle: Path) -> None:
    manifest = builder.read(bundle)
    assert manifest is not None
    for file in manifest.files:
        content = (bundle / file.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)
    assert manifest.pip.name.startswith("pip-")
    assert zipfile.is_zipfile(bundle / manifest.pip.path)


def test_the_scripts_know_the_manifest_and_the_agent_by_their_hashes(bundle: Path) -> None:
    manifest = builder.read(bundle)
    assert manifest is not None
    for name in builder.SCRIPTS:
        text = (bundle / name).read_text()
        assert hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest() in text
        assert manifest.agent.path in text
        assert "@AGENT" not in text
        assert "@MANIFEST" not in text


def test_a_bundle_of_this_installation_is_not_built_again(bundle: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    builder.ensure(bundle)
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_after_an_upgrade_the_bundle_is_built_again_and_the_old_agent_is_gone(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = builder.read(bundle)
    assert before is not None
    monkeypatch.setattr(agent_wheel, "build", lambda _requirements: b"the next version")
    after = builder.ensure(bundle)
    assert after.agent == BundleFile.of(agent_wheel.NAME, b"the next version")
    assert not (bundle / before.agent.path).exists()
    assert (bundle / before.pip.path).exists()


def test_dependencies_are_kept_while_they_are_required_and_dropped_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(_requirements: Path, platform: str, python: str, directory: Path) -> None:
        (directory / f"psutil-{python}-{platform}.whl").write_bytes(platform.encode())

    wheel = BundleFile.of("psutil-3.11-linux-x86_64.whl", b"linux-x86_64")
    monkeypatch.setattr(wheelhouse, "download", download)
    monkeypatch.setattr(agent_wheel, "read_requirements", lambda: f"psutil==7 \\\n    --hash=sha256:{wheel.sha256}\n")
    first = builder.build(tmp_path, platforms=["linux-x86_64"], pythons=["3.11"])
    assert (first.wheels, first.platforms) == ([wheel], ["linux-x86_64"])
    assert builder.build(tmp_path).wheels == [wheel]
    monkeypatch.setattr(agent_wheel, "read_requirements", lambda: "psutil==8\n")
    last = builder.build(tmp_path)
    assert (last.wheels, last.platforms) == ([], [])
    assert not (tmp_path / wheel.path).exists()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"cannot write the bundle in {tmp_path / 'file'}"):
        builder.build(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{}"])
def test_a_damaged_manifest_is_no_bundle(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    assert builder.read(bundle) is None
    assert isinstance(builder.ensure(bundle), Manifest)
