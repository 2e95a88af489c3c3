"""Building a bundle in a directory, and keeping it equal to this installation.

Invariants:
- The manifest is written last and atomically: a reader finds a whole bundle, the old or the new one.
- A bundle is built anew only if this installation would make another agent wheel; wheels of dependencies that are still
  required are kept.
- The install scripts contain the hash of the manifest, so that they install what they were written for.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from runtime import files
from runtime.bundle import agent_wheel, wheelhouse
from runtime.bundle.manifest import AUTHORITY, MANIFEST, BundleFile, Manifest, ManifestError
from runtime.errors import UserError
from runtime.version import VERSION

SCRIPTS = ("install.sh", "install.ps1")
_HERE = Path(__file__).parent


def build(
    directory: Path,
    *,
    platforms: Sequence[str] = (),
    pythons: Sequence[str] = wheelhouse.PYTHONS,
    with_uv: bool = False,
    authority: Path | None = None,
) -> Manifest:
    """Build a bundle, with the dependencies for these platforms and Python versions. Raises UserError.

    `with_uv` adds the program that installs Python on a machine that has none; `authority` is the broker's CA
    certificate, which a machine that cannot reach the dashboard needs beside the rest.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory, prefix=".building.") as scratch:
            manifest = _collect(directory, Path(scratch), platforms, pythons, with_uv=with_uv)
        _write_beside(directory, manifest, authority)
        files.replace(directory / MANIFEST, manifest.encode().decode())
        _remove_others(directory, manifest)
    except OSError as error:
        raise UserError(f"cannot write the bundle in {directory}: {error.strerror}") from None
    return manifest


def ensure(directory: Path) -> Manifest:
    """Return the bundle in a directory; build it if there is none of this installation. Raises UserError."""
    found = read(directory)
    requirements = agent_wheel.read_requirements()
    wheel = BundleFile.of(agent_wheel.NAME, agent_wheel.build(requirements))
    if found is not None and (found.agent, found.version) == (wheel, VERSION):
        return found
    return build(directory)


def read(directory: Path) -> Manifest | None:
    """Return the manifest of the bundle in a directory; None if there is no bundle of this format."""
    try:
        return Manifest.decode((directory / MANIFEST).read_bytes())
    except (OSError, ManifestError):
        return None


def script(name: str, manifest: Manifest) -> str:
    """Return an install script (one of SCRIPTS) for a bundle."""
    values = {
        "MANIFEST_SHA256": hashlib.sha256(manifest.encode()).hexdigest(),
        "AGENT_PATH": manifest.agent.path,
        "AGENT_SHA256": manifest.agent.sha256,
        "UV": " ".join(f"{each.name}={each.sha256}" for each in manifest.uv),
    }
    text = (_HERE / name).read_text()
    for place, value in values.items():
        text = text.replace(f"@{place}@", value)
    return text


def _collect(
    directory: Path, scratch: Path, platforms: Sequence[str], pythons: Sequence[str], *, with_uv: bool
) -> Manifest:
    """Write all files of a bundle and return its manifest."""
    requirements = agent_wheel.read_requirements()
    pip = wheelhouse.find_pip(scratch)
    (listed := scratch / "requirements.txt").write_text(requirements)
    kept = read(directory)
    wheels = _still_required(kept, requirements)
    same = kept is not None and len(wheels) == len(kept.wheels)
    uv = {file.name: file for file in (kept.uv if kept else ())}
    for platform in platforms:
        (place := scratch / platform).mkdir()
        for python in pythons:
            wheelhouse.download(listed, platform, python, place)
        found = [_put(directory, path.name, path.read_bytes()) for path in sorted(place.glob("*.whl"))]
        wheels.update({file.name: file for file in found})
        (place := scratch / f"uv-{platform}").mkdir()
        if with_uv and (program := wheelhouse.download_uv(platform, place)):
            uv[f"uv-{platform}"] = _put(directory, f"uv-{platform}", program)
    return Manifest(
        version=VERSION,
        agent=_put(directory, agent_wheel.NAME, agent_wheel.build(requirements)),
        pip=_put(directory, pip.name, pip.read_bytes()),
        requirements=_put(directory, "requirements.txt", requirements.encode()),
        platforms=sorted({*platforms, *(kept.platforms if kept and same else ())}),
        wheels=[wheels[name] for name in sorted(wheels)],
        uv=[uv[name] for name in sorted(uv)],
    )


def _still_required(kept: Manifest | None, requirements: str) -> dict[str, BundleFile]:
    """Return the wheels of the bundle before whose hashes are among the requirements."""
    return {file.name: file for file in (kept.wheels if kept else ()) if f"sha256:{file.sha256}" in requirements}


def _put(directory: Path, name: str, content: bytes) -> BundleFile:
    file = BundleFile.of(name, content)
    path = directory / file.path
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=directory, prefix=".building.") as scratch:
            written = Path(scratch, name)
            written.write_bytes(content)
            files.sync(written)
            written.replace(path)
    return file


def _write_beside(directory: Path, manifest: Manifest, authority: Path | None) -> None:
    for name in SCRIPTS:
        files.replace(directory / name, script(name, manifest))
    if authority is not None:
        files.replace(directory / AUTHORITY, authority.read_text())


def _remove_others(directory: Path, manifest: Manifest) -> None:
    """Remove the files of the bundle before."""
    wanted = {file.path for file in manifest.files}
    for path in directory.glob(f"{'[0-9a-f]' * 64}/*"):
        if path.relative_to(directory).as_posix() not in wanted:
            path.unlink()
            path.parent.rmdir()
