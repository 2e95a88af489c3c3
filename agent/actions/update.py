"""The action `update`: another version of the agent, from the server's bundle.

The order names the version and the hash of the bundle's manifest, which has the hashes of all files; so the signature
covers everything that is installed. What happens after the new environment is built is in `agent/updates/trial.py`.

Invariants:
- An older version is refused, and so is an order that was issued before the one that was carried out last.
- Until the new version has proved itself nothing of the old one is touched.
- Fetching, building and the trial end before the server gives up waiting (15 minutes), however slow the machine is.
"""

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agent.action import ActionContext, Arguments, MachineState, Outcome, StartedOrder, action
from agent.connection_record import read_connection
from agent.installation import environment
from agent.relocation.move_record import require_not_moving
from agent.transfer.file_queue import TransferError
from agent.updates.layout import Layout, find_layout
from agent.updates.trial import trial_seconds
from agent.updates.update_record import TRIAL_SECONDS, UpdateRecord, read_update
from runtime.bundle.manifest import BundleFile, Manifest, ManifestError
from runtime.errors import UserError
from runtime.settings.agent import AgentSettings
from runtime.version import VERSION
from schemas.contract.files.transfer import Sha256
from schemas.fleet.release import VERSION_PATTERN, is_older

BUILD_SECONDS = 780.0
"""Time to fetch and build. What was fetched is kept, so the same order given again continues."""

_ALL_SECONDS = 870.0
"""Time to fetch, to build and to try, if the trial may take longer than TRIAL_SECONDS."""

_MANIFEST_MAX_BYTES = 1 << 20


class UpdateArguments(Arguments):
    """Version, and SHA-256 of the manifest of its bundle."""

    version: Annotated[str, Field(pattern=VERSION_PATTERN, max_length=64)]
    sha256: Annotated[Sha256, Field(title="SHA-256 of the bundle")]


def _check(arguments: UpdateArguments, settings: AgentSettings) -> None:
    try:
        find_layout()
    except UserError as error:
        raise ValueError(str(error)) from None
    record = read_update(settings.data)
    if record is not None and record.state == "trying":
        raise ValueError(f"the update to {record.version} is not finished")
    require_not_moving(settings)
    if is_older(arguments.version, VERSION):
        raise ValueError(f"{arguments.version} is older than {VERSION}, which runs here: nothing is downgraded")


def _tried(started: StartedOrder, state: MachineState) -> Outcome | None:
    record = read_update(state.data)
    if record is None or record.order != started.order.id:
        if state.process == started.process:
            return None
        return Outcome.failed("interrupted", "the agent ended before the new version was tried")
    if record.state == "committed":
        return Outcome.succeeded(f"Version {record.version} runs; before, it was {record.before}.")
    if record.state == "rolled-back":
        return Outcome.failed("rolled-back", f"{record.reason}; version {record.before} runs again")
    return None


@action(
    UpdateArguments,
    title="Update the agent",
    resolve=_tried,
    check=_check,
    seconds=BUILD_SECONDS + 60,
    replaces_agent=True,
)
def update(arguments: UpdateArguments, context: ActionContext) -> Outcome | None:
    """Build the environment of the version, and end this process for its trial."""
    data = context.settings.data
    last = read_update(data)
    if last is not None and context.order.issued_at < last.issued_at:
        return Outcome.failed("superseded", "an update that was ordered later was carried out")
    began_at = time.monotonic()
    deadline = began_at + BUILD_SECONDS
    try:
        layout = find_layout()
        manifest = _manifest(arguments, context, deadline)
        place = layout.prefix / environment.ENVIRONMENTS / manifest.environment
        if place == layout.environment:
            return Outcome.succeeded(f"Version {manifest.version} of this bundle runs already.")
        start_seconds = _provide(place, manifest, context, deadline)
        _remove_others(layout, place)
        order, limit = context.order, _trial_seconds(data, start_seconds, began_at + _ALL_SECONDS)
        UpdateRecord(order.id, order.issued_at, VERSION, manifest.version, str(place), trial_seconds=limit).write(data)
    except TransferError as error:
        return Outcome.failed("not-fetched", str(error))
    except (UserError, ManifestError) as error:
        return Outcome.failed("not-built", str(error))
    context.restart("restarting")
    return None


def _provide(place: Path, manifest: Manifest, context: ActionContext, deadline: float) -> float:
    """Build the environment unless it exists; return the seconds in which its Python starts. Raises UserError."""
    for attempt in range(2):
        began_at = time.monotonic()
        if environment.is_complete(place):
            return time.monotonic() - began_at
        if attempt == 0:
            environment.build(place, manifest, partial(_fetch, context, deadline))
    raise UserError("the Python of the new environment does not start")


def _trial_seconds(data: Path, start_seconds: float, end_at: float) -> float:
    """Return the time limit of the trial, which the server waits for until `end_at`."""
    connection = read_connection(data)
    waited = 0.0 if connection is None else connection.acknowledged_after_seconds
    return max(TRIAL_SECONDS, min(trial_seconds(start_seconds, waited), round(end_at - time.monotonic())))


def _manifest(arguments: UpdateArguments, context: ActionContext, deadline: float) -> Manifest:
    path = context.fetch(arguments.sha256, limit=_MANIFEST_MAX_BYTES, seconds=deadline - time.monotonic())
    try:
        manifest = Manifest.decode(path.read_bytes())
    finally:
        path.unlink()
    if manifest.version != arguments.version:
        raise UserError(f"the bundle has version {manifest.version}, the order says {arguments.version}")
    return manifest


def _fetch(context: ActionContext, deadline: float, file: BundleFile, directory: Path) -> Path:
    """Fetch a file of the bundle into a directory."""
    path = context.fetch(file.sha256, limit=file.size, seconds=max(1.0, deadline - time.monotonic()))
    return Path(shutil.move(path, directory / file.name))


def _remove_others(layout: Layout, place: Path) -> None:
    """Remove what earlier updates left; what root has installed stays, as it is not this user's.

    The service may start another environment than this process runs in, as one that was just installed.
    """
    kept = (layout.environment, place, environment.current(layout.prefix))
    for other in (layout.prefix / environment.ENVIRONMENTS).iterdir():
        if other not in kept:
            shutil.rmtree(other, ignore_errors=True)
