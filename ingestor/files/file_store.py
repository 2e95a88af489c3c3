"""The files that machines may fetch, by hash.

Invariant: a request names a hash and no path, so it cannot reach a file that is not meant for its machine.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from runtime.bundle.manifest import MANIFEST

FindFile = Callable[[str, str, str], Path | None]
"""Returns the file that a machine (organisation, machine id) may fetch by this SHA-256; None if there is none."""


class BundleStore:
    """The bundle that machines install from: every machine may fetch its manifest and its files.

    `directory` may be missing, or be replaced at any time by `dashfleet bundle`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manifest: tuple[int, str] = (0, "")
        """Time of the last change in nanoseconds, and SHA-256."""

    def find(self, _org: str, _machine: str, sha256: str) -> Path | None:
        """Return the file with this hash; None if the bundle has none. Raises OSError."""
        manifest = self._directory / MANIFEST
        if manifest.is_file() and self._hash(manifest) == sha256:
            return manifest
        place = self._directory / sha256
        return next((path for path in place.iterdir() if path.is_file()), None) if place.is_dir() else None

    def _hash(self, manifest: Path) -> str:
        changed_at = manifest.stat().st_mtime_ns
        if self._manifest[0] != changed_at:
            self._manifest = changed_at, hashlib.sha256(manifest.read_bytes()).hexdigest()
        return self._manifest[1]
