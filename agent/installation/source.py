"""Where a machine gets the files of a bundle: the dashboard's server, or a copy of the bundle in a directory.

Standard library only: this runs before anything is installed.

Invariants:
- Nothing is used before its SHA-256 was compared with the expected one.
- A download is bounded in size and time, and is refused over plain HTTP except on loopback.
"""

import hashlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from runtime.bundle.manifest import AUTHORITY, MANIFEST, BundleFile, Manifest, ManifestError
from runtime.errors import UserError
from runtime.settings.loopback import is_loopback

TIMEOUT_SECONDS = 30.0
ATTEMPTS = 4
_PAUSE_MAX_SECONDS = 60
_SMALL_BYTES = 1 << 20
_TOO_MANY = 429


class BundleSource:
    """A bundle at an address (`https://fleet.example.org`) or in a directory. Raises UserError if it can be neither.

    `insecure` permits plain HTTP beyond loopback; `sleep` waits between attempts.
    """

    def __init__(self, place: str, *, insecure: bool = False, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(place)
        self.place = place.rstrip("/")
        self.is_remote = parts.scheme in ("http", "https")
        self._sleep = sleep
        if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname or ""):
            raise UserError(
                f"others on the network could change what {place} sends: use https://, or --insecure on a private "
                "network"
            )
        if not self.is_remote and not Path(place).is_dir():
            raise UserError(f"{place} is neither the address of a dashboard (https://HOST) nor a directory")

    def manifest(self, sha256: str | None) -> Manifest:
        """Return the manifest; None for the hash trusts a directory. Raises UserError."""
        content = self._read(MANIFEST, _SMALL_BYTES)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise UserError(
                f"{self.place} has another bundle than this script was made for: get the script again and run it"
            )
        try:
            return Manifest.decode(content)
        except ManifestError as error:
            raise UserError(f"{self.place} cannot be installed from: {error}") from None

    def authority(self) -> bytes:
        """Return the broker's CA certificate, not verified. Raises UserError."""
        return self._read(AUTHORITY, _SMALL_BYTES)

    def fetch(self, file: BundleFile, directory: Path) -> Path:
        """Copy a file of the bundle to a directory and return its path. Raises UserError, OSError."""
        content = self._read(file.path, file.size)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise UserError(
                f"{file.name} from {self.place} does not have the expected SHA-256: nothing was installed; "
                "build the bundle again with dashfleet bundle"
            )
        path = directory / file.name
        path.write_bytes(content)
        return path

    def _read(self, name: str, limit: int) -> bytes:
        try:
            content = self._download(name, limit) if self.is_remote else Path(self.place, name).read_bytes()
        except FileNotFoundError:
            raise UserError(f"there is no {name} in {self.place}: build it with dashfleet bundle") from None
        if len(content) > limit:
            raise UserError(f"{name} from {self.place} is larger than the bundle says: nothing was installed")
        return content

    def _download(self, name: str, limit: int) -> bytes:
        url, problem = f"{self.place}/bundle/{name}", ""
        for attempt in range(ATTEMPTS):
            pause = float(2**attempt)
            try:
                with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - http(s), see __init__
                    return bytes(answer.read(limit + 1))
            except urllib.error.HTTPError as error:
                problem = f"it answered {error.code} for {name}"
                if error.code != _TOO_MANY and error.code < 500:
                    break
                pause = _retry_after(error, pause)
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                problem = str(getattr(reason, "verify_message", "") or getattr(reason, "strerror", "") or reason)
                if isinstance(reason, ssl.SSLCertVerificationError):
                    problem += ": set SSL_CERT_FILE to the certificate of its CA"
                    break
            if attempt < ATTEMPTS - 1:
                self._sleep(pause)
        raise UserError(f"cannot download from {self.place}: {problem}")


def _retry_after(error: urllib.error.HTTPError, otherwise: float) -> float:
    """Return the seconds that the server asks to wait."""
    text = error.headers.get("Retry-After", "")
    return min(float(text), _PAUSE_MAX_SECONDS) if text.isdecimal() else otherwise
