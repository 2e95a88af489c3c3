"""Files that only their owner may read, and files that only their owner may change."""

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
    if others_can_read(path, path.stat()):
        raise SettingsError(f"{path} can be read by others: run chmod 600 {path}")


def others_can_read(path: Path, status: os.stat_result) -> bool:
    """Return whether the mode lets users other than the owner read the file.

    Below $CREDENTIALS_DIRECTORY, systemd gives the files mode 0440 and lets only the service enter.
    """
    open_to = stat.S_IMODE(status.st_mode) & 0o077
    return os.name == "posix" and bool(open_to) and not (open_to == stat.S_IRGRP and _is_credential(path))


def require_unchangeable(path: Path, status: os.stat_result) -> None:
    """Raise SettingsError if another user can change the file, or put another in its place."""
    if others_can_write(status):
        raise SettingsError(
            f"{path} can be changed by other users: it must belong to root or the user of this process; "
            f"run chmod go-w {path}"
        )
    for directory in {path.absolute().parent, Path(os.path.realpath(path)).parent}:
        if _anyone_can_replace_in(directory):
            raise SettingsError(f"every user can replace {path}: run chmod o-w {directory}")


def others_can_write(status: os.stat_result) -> bool:
    """Return whether users other than root and the one of this process own the file or may write it."""
    if os.name != "posix":
        return False
    return bool(stat.S_IMODE(status.st_mode) & 0o022) or status.st_uid not in (0, os.geteuid())


def _is_credential(path: Path) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory or "/"))


def _anyone_can_replace_in(directory: Path) -> bool:
    if os.name != "posix":
        return False
    mode = directory.stat().st_mode
    read_only = os.statvfs(directory).f_flag & os.ST_RDONLY  # such as a ConfigMap of Kubernetes, whose mode is 0777
    return bool(mode & stat.S_IWOTH and not mode & stat.S_ISVTX and not read_only)
