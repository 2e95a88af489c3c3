"""Whether this agent can be updated by order, and where its environments are.

Invariant: an agent that belongs to a package, an image or a checkout is never changed: those bring their own updates.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import runtime
from agent.installation import environment
from runtime.errors import UserError

_CONTAINER_FILES = (Path("/.dockerenv"), Path("/run/.containerenv"))
_OF_PACKAGES = (Path("/usr/lib"), Path("/usr/share"))


@dataclass(frozen=True, slots=True)
class Layout:
    """An installation below `prefix`, whose `environment` runs here."""

    prefix: Path
    environment: Path


def find_layout(here: Path | None = None) -> Layout:
    """Return the layout of this process. `here`: its environment. Raises UserError with the reason if it has none."""
    here = here or Path(sys.prefix)
    prefix = here.parent.parent
    if os.name == "nt":
        raise UserError("updates by order do not work on Windows yet: run install.ps1 again, which updates the agent")
    if here.parent.name != environment.ENVIRONMENTS or environment.current(prefix) is None:
        raise UserError(_why_not())
    if not all(os.access(place, os.W_OK) for place in (prefix, here.parent)):
        raise UserError(
            "the owner of this machine has not allowed updates by order: run install.sh again without --no-updates"
        )
    return Layout(prefix, here)


def _why_not() -> str:
    if any(path.exists() for path in _CONTAINER_FILES) or "KUBERNETES_SERVICE_HOST" in os.environ:
        return "this agent runs in a container: replace its image instead"
    source = Path(runtime.__file__)
    if any(source.is_relative_to(place) for place in _OF_PACKAGES):
        return "this agent belongs to a package of the system: update it with the package manager, such as apt"
    return f"this agent runs from {source.parents[1]} and was not installed by install.sh: update it there"
