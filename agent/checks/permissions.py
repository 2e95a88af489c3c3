"""Owner and mode of the agent's files."""

import os
from pathlib import Path

from agent.check import Examination, Finding, check
from runtime.settings.secret_files import others_can_read


@check(order=70)
def permissions(examination: Examination) -> Finding:
    """Check that the state directory belongs to one user, and that secrets are that user's alone."""
    data = examination.settings.data
    try:
        owner = data.stat().st_uid
        paths = [data, data / "agent", data / "secrets", *(data / "agent").glob("*"), *(data / "secrets").glob("*")]
        for path in (path for path in paths if path.exists()):
            status = path.stat()
            if os.name == "posix" and status.st_uid != owner:
                return _problem(f"{path} belongs to another user than {data}", f"chown -R {owner} {data}")
            if path.parent == data / "secrets" and path.is_file() and others_can_read(path, status):
                return _problem(f"{path} can be read by others", f"chmod 600 {path}")
    except OSError as error:
        return _problem(f"cannot read {error.filename}: {error.strerror}", _as_root(data))
    return Finding("permissions", "ok", f"{data} and its secrets belong to one user")


def _problem(detail: str, command: str) -> Finding:
    return Finding("permissions", "problem", detail, f"Run: {command}")


def _as_root(data: Path) -> str:
    return f"this command as root, or as the owner of {data}"
