"""The list of files in a bundle, with their hashes. Standard library only: a machine reads it before it has anything.

Invariants:
- A file is named by its hash, so that an address never changes its content and only the manifest has to be verified.
- A name has no directory: a manifest cannot make a machine write elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

MANIFEST = "manifest.json"
AUTHORITY = "ca.pem"
"""The broker's CA certificate, beside the manifest. The install command has its fingerprint."""

FORMAT = 1
FILES_MAX = 2000
FILE_BYTES_MAX = 256 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_HASH = re.compile(r"[0-9a-f]{64}")


class ManifestError(ValueError):
    """The text is not a manifest of this format."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of the bundle. `sha256`: 64 hex digits; `size`: in bytes."""

    name: str
    sha256: str
    size: int

    @classmethod
    def of(cls, name: str, content: bytes) -> "BundleFile":
        """Describe a file with this content."""
        return cls(name, hashlib.sha256(content).hexdigest(), len(content))

    @property
    def path(self) -> str:
        """Where the file is in the bundle, with a slash."""
        return f"{self.sha256}/{self.name}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of a bundle.

    `agent` is the wheel of the agent, `pip` the wheel that installs it, `requirements` the pinned dependencies with
    their hashes, `wheels` the dependencies for `platforms`, `uv` programs that install Python, by platform.
    """

    version: str
    agent: BundleFile
    pip: BundleFile
    requirements: BundleFile
    platforms: Sequence[str] = ()
    wheels: Sequence[BundleFile] = ()
    uv: Sequence[BundleFile] = ()

    @property
    def files(self) -> list[BundleFile]:
        """All files."""
        return [self.agent, self.pip, self.requirements, *self.wheels, *self.uv]

    @property
    def environment(self) -> str:
        """Name of the environment that a machine makes of this bundle: the version, and its content."""
        content = hashlib.sha256((self.agent.sha256 + self.requirements.sha256).encode()).hexdigest()
        return f"{self.version}-{content[:12]}"

    def encode(self) -> bytes:
        """Return the manifest as JSON; the same content always gives the same bytes."""
        return (json.dumps({"v": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def decode(cls, text: bytes) -> "Manifest":
        """Read a manifest. Raises ManifestError."""
        try:
            given = json.loads(text)
            if given["v"] != FORMAT:
                raise ManifestError(f"the bundle has format {given['v']}, this program reads format {FORMAT}")
            lists = {name: [_file(each) for each in given[name]] for name in ("wheels", "uv")}
            agent, pip, requirements = (_file(given[name]) for name in ("agent", "pip", "requirements"))
            version, platforms = given["version"], [str(name) for name in given["platforms"]]
        except (ValueError, KeyError, TypeError) as error:
            raise error if isinstance(error, ManifestError) else ManifestError("this is not a manifest") from None
        if not _NAME.fullmatch(version) or sum(map(len, lists.values())) > FILES_MAX:
            raise ManifestError("this is not a manifest")
        return cls(version, agent, pip, requirements, platforms, lists["wheels"], lists["uv"])


def _file(given: Any) -> BundleFile:  # noqa: ANN401 - decoded JSON
    name, sha256, size = given["name"], given["sha256"], given["size"]
    if not (
        _NAME.fullmatch(name) and _HASH.fullmatch(sha256) and isinstance(size, int) and 0 <= size <= FILE_BYTES_MAX
    ):
        raise ManifestError("the manifest names a file that cannot be one of a bundle")
    return BundleFile(name, sha256, size)
