"""Files that hold secrets: only their owner can read them."""

import os
import stat
from pathlib import Path

from runtime import files
from runtime.errors import SettingsError


def read_secret(path: Path) -> str:
    """Return the first line of a secret file. Raises SettingsError if it is unreadable or readable by other users."""
    try:
        require_private(path)
        secret = path.read_text().strip().partition("\n")[0].strip()
    except OSError as error:
        raise SettingsError(f"cannot read the secret in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"cannot read the secret in {path}: it is not text") from None
    if not secret:
        raise SettingsError(f"there is no secret in {path}: the file is empty")
    return secret


def write_secret(path: Path, secret: str) -> None:
    """Write a secret to a file that only its owner can read, from the moment it exists."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.replace(path, secret + "\n")


def require_private(path: Path) -> None:
    """Raise SettingsError if other users can read the file, FileNotFoundError if it does not exist."""
    if others_can_read(path.stat()):
        raise SettingsError(f"{path} can be read by others: run chmod 600 {path}")


def others_can_read(status: os.stat_result) -> bool:
    """Return whether the mode lets users other than the owner read the file."""
    return os.name == "posix" and bool(stat.S_IMODE(status.st_mode) & 0o077)
