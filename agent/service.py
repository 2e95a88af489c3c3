"""Contract of a service manager: it starts the agent with the system, and again when it exits.

A file in `agent/services/` adds one: a module with a constant `SERVICE`.
"""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.errors import UserError

NAME = "dashfleet-agent"
USER = "dashfleet"
CURRENT = "current"
"""Link, in the directory of an installation, to the environment that the service runs."""
_SECONDS = 90


class Service(ABC):
    """A service manager. Files are written by the installer; the methods run the manager's own programs."""

    title: str
    """Name for people."""

    needs_user = True
    """True if the agent runs as a user of its own."""

    @abstractmethod
    def is_here(self) -> bool:
        """Return True if this machine uses this manager."""

    @abstractmethod
    def files(self, program: Path, data: Path) -> Mapping[Path, str]:
        """Return the files that describe the service, with their content."""

    @abstractmethod
    def is_active(self) -> bool:
        """Return True if the service is running."""

    @abstractmethod
    def start(self) -> bool:
        """Start the service, now and with each start of the system, or restart it.

        Return False if it can be started only with the next start of the system. Raises UserError.
        """

    @abstractmethod
    def remove(self) -> None:
        """Stop the service and do not start it again. Its files still exist. Raises UserError."""

    def forget(self) -> None:  # noqa: B027 - few managers need it
        """Have the manager notice that the files are gone."""


def run(argv: Sequence[str]) -> int:
    """Run a program of a service manager and return its exit code; 127 if it does not exist. Raises UserError."""
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        ).returncode
    except OSError:
        return 127
    except subprocess.TimeoutExpired:
        raise UserError(f"{argv[0]} did not end within {_SECONDS} s") from None


def require(argv: Sequence[str]) -> None:
    """Run a program of a service manager. Raises UserError if it fails."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"cannot run {argv[0]}: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"{' '.join(argv)} failed: {said[-1] if said else f'exit code {done.returncode}'}")
