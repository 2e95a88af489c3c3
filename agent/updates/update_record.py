"""The last update of this machine, on disk: which environment was tried, and what came of it.

Invariants:
- The link `current` alone decides which version the service starts; it is changed once, when the new version has proved
  itself. The record only reports, so losing it, or power, at any moment leaves one whole version in charge.
- A process that finds a trial which it is not part of was started after the trial's end: it settles the record.
"""

import json
import logging
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from runtime import files

TRIAL = "DASHFLEET_UPDATE_TRIAL"
"""Environment variable of a process that is being tried: the id of its order."""

TRIAL_SECONDS = 60.0
"""Least time that a new version has to prove itself."""

_FILE = Path("agent", "update.json")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """An update. `order`: id of its order, issued at `issued_at`; `before` and `version`: the versions.

    `environment`: path of the new environment; `reason`: why it was given up; `trial_seconds`: time limit of the trial.
    Other versions read the record: a field that is added has a default, and an unknown one is ignored.
    """

    order: str
    issued_at: int
    before: str
    version: str
    environment: str
    state: Literal["trying", "committed", "rolled-back"] = "trying"
    reason: str = ""
    trial_seconds: float = TRIAL_SECONDS

    def write(self, data: Path) -> None:
        """Write the record into a state directory. Raises OSError."""
        files.replace(data / _FILE, json.dumps(asdict(self)) + "\n")

    def gave_up(self, reason: str) -> "UpdateRecord":
        """Return the record of this update after it was given up."""
        return replace(self, state="rolled-back", reason=reason)

    @property
    def is_mine(self) -> bool:
        """True in the process that is being tried."""
        return os.environ.get(TRIAL) == self.order


def read_update(data: Path) -> UpdateRecord | None:
    """Return the record in a state directory; None if there is none that can be read."""
    return files.read_record(data / _FILE, UpdateRecord)


def settle_update(data: Path, environment: Path | None = None) -> None:
    """At the start of the agent: settle a trial that ended without its supervisor, as by a power cut.

    `environment`: of this process.
    """
    record = read_update(data)
    if record is None or record.state != "trying" or record.is_mine:
        return
    if Path(record.environment) == (environment or Path(sys.prefix)):
        settled = replace(record, state="committed")
    else:
        settled = record.gave_up("the machine or the agent ended while the new version was tried")
    try:
        settled.write(data)
    except OSError as error:
        log.warning("cannot record the end of the update to %s: %s", record.version, error.strerror)
