"""Record of an installation: what it created on this machine, so that its removal removes that and nothing else."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from runtime import files

RECORD = "installation.json"
PREFIX = Path("/opt/dashfleet") if os.name != "nt" else Path("C:/Program Files/DashFleet")
DATA = Path("/var/lib/dashfleet") if os.name != "nt" else Path("C:/ProgramData/DashFleet/state")
COMMAND = Path("/usr/local/bin/dashfleet")


@dataclass(slots=True)
class InstallationRecord:
    """An installation below `prefix`.

    `created_user`: the user did not exist before; `service`: title of its manager, empty for none; `created`: files and
    directories outside of `prefix` and `data`, in the order in which they were created.
    """

    prefix: str
    data: str
    created_user: bool = False
    service: str = ""
    source: str = ""
    created: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Write the record. Raises OSError."""
        path = Path(self.prefix, RECORD)
        text = json.dumps(asdict(self), indent=2) + "\n"
        with suppress(OSError):
            if path.read_text() == text:
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, text)
        path.chmod(0o644)


def read_record(prefix: Path) -> InstallationRecord | None:
    """Return the record of the installation below a prefix; None if there is none."""
    return files.read_record(prefix / RECORD, InstallationRecord)
