"""The action `pull`: send a file of one of the directories of the setting `pull_directories` to the server.

The file is copied first, so that what is sent has one content. See `agent.transfer.named_directories`.
"""

import hashlib
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Any, BinaryIO, Final

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.transfer.file_fetcher import FREE_BYTES
from agent.transfer.file_queue import TransferError
from agent.transfer.named_directories import PATH_MAX, NamedDirectories, PathRefusedError, describe_path
from runtime.partial_file import prune
from runtime.settings.agent import AgentSettings

SEND_SECONDS: Final = 780.0
"""Time to send the file, shorter than the server waits for an outcome (15 minutes). What has arrived is kept, so
another order for the same file continues."""

_BLOCK_BYTES = 1 << 20


class PullArguments(Arguments):
    """File of the machine."""

    path: Annotated[str, Field(min_length=2, max_length=PATH_MAX, title="Path")]


def _directories(settings: AgentSettings) -> NamedDirectories:
    return NamedDirectories(settings.pull_directories, settings.data)


def _check(arguments: PullArguments, settings: AgentSettings) -> None:
    _directories(settings).locate(arguments.path)


def _describe(settings: AgentSettings) -> dict[str, Any]:
    return describe_path(PullArguments.model_json_schema(), settings.pull_directories)


@action(PullArguments, title="Pull a file", describe=_describe, check=_check, seconds=SEND_SECONDS + 60)
def pull(arguments: PullArguments, context: ActionContext) -> Outcome:
    """Copy the file, and send the copy until the server has stored it."""
    limit, order, directory = context.settings.file_max_bytes, context.order.id, context.transfer_directory
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        prune(directory)
        with NamedTemporaryFile(dir=directory, suffix=".out") as copy:
            with _directories(context.settings).open(arguments.path, limit) as file:
                sha256, size = _copy(file, copy.file, directory, limit)
            context.send(Path(copy.name), sha256, seconds=SEND_SECONDS)
    except PathRefusedError as error:
        return Outcome.failed("refused", str(error))
    except TransferError as error:
        return Outcome.failed("not-sent", str(error))
    except OSError as error:
        return Outcome.failed("not-read", f"the file cannot be read or copied: {error.strerror}")
    detail = f"The server has the file, {size} bytes: dashfleet files get {order} FILE copies it."
    return Outcome.succeeded(detail, output=f"SHA-256 {sha256}\n")


def _copy(file: BinaryIO, copy: IO[bytes], directory: Path, limit: int) -> tuple[str, int]:
    """Copy at most `limit` bytes; return SHA-256 and size. Raises PathRefusedError, TransferError, OSError."""
    digest, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK_BYTES):
        size += len(block)
        if size > limit:
            raise PathRefusedError(f"the file grows beyond {limit} bytes")
        if shutil.disk_usage(directory).free < len(block) + FREE_BYTES:
            raise TransferError(f"there is no space to copy the file on the disk of {directory}")
        digest.update(block)
        copy.write(block)
    copy.flush()
    return digest.hexdigest(), size
