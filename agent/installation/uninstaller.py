"""Removing an installation: everything that it created, and nothing else."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.enrolment import enrolled_as
from agent.installation import accounts
from agent.installation.record import InstallationRecord, read_record
from agent.outbox.memory_file import memory_directory
from agent.service import Service
from agent.services import SERVICES
from runtime.errors import UserError

Retire = Callable[[Path], bool]
"""Asks the server to retire the machine with this state directory; returns whether it has. Raises UserError."""


def uninstall(prefix: Path, *, keep_data: bool, say: Callable[[str], None], retire: Retire | None = None) -> None:
    """Stop the agent and remove its installation below `prefix`; with `keep_data` not its state directory.

    With `retire` the server retires the machine; if it cannot be reached, nothing is removed. Raises UserError.
    """
    record = read_record(prefix)
    if record is None:
        raise UserError(f"there is no installation in {prefix}: nothing to remove")
    data = Path(record.data)
    known = enrolled_as(data)
    retired = None if retire is None or known is None else _retire(record, retire)
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
        say(_at_server(known, retired))


def _retire(record: InstallationRecord, retire: Retire) -> bool:
    """Have the machine retired while the agent does not run; start it again if that fails. Raises UserError."""
    service = _service_of(record)
    if service is not None:
        service.remove()
    try:
        return retire(Path(record.data))
    except UserError:
        if service is not None:
            service.start()
        raise


def _at_server(known: str, retired: bool | None) -> str:
    """Return what the server knows of the machine now, as a sentence."""
    if retired:
        return f"The server has retired {known} and revoked its secret; its history stays there."
    if retired is False:
        return f"The broker keeps the message that retires {known}; the server acts on it as soon as its ingestor runs."
    return (
        f"The server still lists it as {known}. To retire it there, use the button Decommission on its page, or run on "
        f"the server: dashfleet principal revoke {known.replace('/', '.')}"
    )


def _service_of(record: InstallationRecord) -> Service | None:
    return next((each for each in SERVICES if each.title == record.service), None)


def _remove_service(record: InstallationRecord) -> None:
    service = _service_of(record)
    if service is not None:
        service.remove()
    for name in reversed(record.created):
        Path(name).unlink(missing_ok=True)
    if service is not None:
        service.forget()


def _remove_tree(directory: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
