"""The keys whose orders this machine executes, in a file that only its owner can read or change.

Invariants:
- The first keys come with the enrolment (`write_keys`); any later one only by a change that a trusted key has signed.
- A revoked key stays revoked, also after a restart.
- With a file that is missing, damaged or another organisation's, no order is executed: that is logged, and the machine
  continues to sample. Only `write_keys` replaces the file.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from runtime import files
from runtime.settings.secret_files import others_can_write
from schemas.contract.commands import OrgName
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import ContractModel, KeyId, Signed
from schemas.contract.signing import Key, KeyRing

KEYS_FILE = "keys.json"
"""Name in the agent's own directory, `agent` below the state directory."""

log = logging.getLogger(__name__)


class TrustedKeysFile(ContractModel):
    """Content of the file."""

    org: OrgName
    keys: Annotated[tuple[EnrolledKey, ...], Field(strict=False)] = ()
    revoked: Annotated[tuple[KeyId, ...], Field(strict=False)] = ()


def write_keys(path: Path, org: str, keys: Iterable[EnrolledKey], *, revoked: Iterable[str] = ()) -> None:
    """Write the keys that the machine trusts from its next start on. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = TrustedKeysFile(org=org, keys=tuple(keys), revoked=tuple(sorted(revoked)))
    files.replace(path, file.model_dump_json(indent=2) + "\n")


class TrustedKeys(KeyRing):
    """The keys of one machine, stored in a file. `org` is the organisation that it belongs to."""

    def __init__(self, path: Path, org: str) -> None:
        super().__init__(org)
        self._path = path
        self._unwritten = False
        self._read()

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the trusted keys, as in `Signed.key`."""
        return tuple(sorted(self.keys))

    def apply(self, changes: Iterable[Signed], now: int) -> bool:
        """Apply the changes that a trusted key has signed; return True if there were any.

        They take effect at once. A failed write is retried with the next call.
        """
        changed = super().apply(changes, now)
        if changed:
            log.warning("the trusted keys have changed: %s", ", ".join(self.ids) or "none is left")
        if changed or self._unwritten:
            self._write()
        return changed

    def _write(self) -> None:
        held = [
            EnrolledKey(public_key=key.public_key, name=key.name, expires_at=key.expires_at)
            for key in self.keys.values()
        ]
        try:
            write_keys(self._path, self.org, held, revoked=self.revoked)
            self._unwritten = False
        except OSError as error:
            self._unwritten = True
            log.error("cannot write %s: %s", self._path, error.strerror)

    def _read(self) -> None:
        try:
            _require_private(self._path)
            file = TrustedKeysFile.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            log.info("there is no %s: no order is executed until this machine is enrolled", self._path)
            return
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            log.error("cannot use %s, no order is executed: %s", self._path, reason)
            return
        if file.org != self.org:
            log.error("the keys in %s are those of another organisation: no order is executed", self._path)
            return
        self.revoked.update(file.revoked)
        self.hold(Key(key.public_key, key.name, key.expires_at) for key in file.keys)


def _require_private(path: Path) -> None:
    """Raise OSError when another user can write the file: that user could decide which orders are executed."""
    if others_can_write(path.stat()):
        raise PermissionError(1, "other users can write it: allow only the agent's user, mode 0600")
