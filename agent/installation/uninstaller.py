"""Removing an installation: everything that it created, and nothing else."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.enrolment import enrolled_as
from agent.installation import accounts
from agent.installation.record import InstallationRecord, read_record
from agent.outbox.memory_file import memory_directory
from agent.services import SERVICES
from runtime.errors import UserError


def uninstall(prefix: Path, *, keep_data: bool, say: Callable[[str], None]) -> None:
    """Stop the agent and remove its installation below `prefix`; with `keep_data` not its state directory.

    Raises UserError.
    """
    record = read_record(prefix)
    if record is None:
        raise UserError(f"there is no installation in {prefix}: nothing to remove")
    data = Path(record.data)
    known = enrolled_as(data)
    try:
        _remove_service(record)
        if not keep_data:
            _remove_tree(data)
        shutil.rmtree(memory_directory(data / "agent"), ignore_errors=True)
        if record.created_user and not keep_data:
            accounts.remove_user()
        _remove_tree(prefix)
    except OSError as error:
        raise UserError(f"cannot remove {error.filename or prefix}: {error.strerror}; run this as root") from None
    say("Removed the DashFleet agent from this machine.")
    if known is not None:
        say(
            f"The server still lists it as {known}. To retire it there, use the button Decommission on its page, or "
            f"run on the server: dashfleet principal revoke {known.replace('/', '.')}"
        )


def _remove_service(record: InstallationRecord) -> None:
    service = next((each for each in SERVICES if each.title == record.service), None)
    if service is not None:
        service.remove()
    for name in reversed(record.created):
        Path(name).unlink(missing_ok=True)
    if service is not None:
        service.forget()


def _remove_tree(directory: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
