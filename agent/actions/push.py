"""The action `push`: write a file of the server into one of the directories of the setting `push_directories`.

The order names the file's SHA-256, so the signature covers its content. See `agent.transfer.named_directories`.
"""

from typing import Annotated, Any

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.transfer.file_queue import TransferError
from agent.transfer.named_directories import PATH_MAX, NamedDirectories, PathRefusedError, describe_path
from runtime.settings.agent import AgentSettings
from schemas.contract.files.transfer import Sha256

FETCH_SECONDS = 780.0
"""Time for the file to arrive, shorter than the server waits for an outcome (15 minutes). What has arrived is kept, so
the same order given again continues."""


class PushArguments(Arguments):
    """File of the server, and where it goes."""

    path: Annotated[str, Field(min_length=2, max_length=PATH_MAX, title="Path")]
    sha256: Annotated[Sha256, Field(title="SHA-256 of the file", description="As dashfleet files add prints it")]
    mode: Annotated[
        str,
        Field(
            pattern=r"^(0?[0-7]{3})?$",
            max_length=4,
            title="Mode",
            description="Such as 0644; without it a new file has 0600, and a replaced file keeps its mode",
        ),
    ] = ""
    replace: Annotated[bool, Field(title="Replace an existing file")] = False


def _check(arguments: PushArguments, settings: AgentSettings) -> None:
    NamedDirectories(settings.push_directories, settings.data).locate(arguments.path)


def _describe(settings: AgentSettings) -> dict[str, Any]:
    return describe_path(PushArguments.model_json_schema(), settings.push_directories)


@action(PushArguments, title="Push a file", describe=_describe, check=_check, seconds=FETCH_SECONDS + 60)
def push(arguments: PushArguments, context: ActionContext) -> Outcome:
    """Fetch the file, and write it as a whole."""
    settings = context.settings
    try:
        content = context.fetch(arguments.sha256, limit=settings.file_max_bytes, seconds=FETCH_SECONDS)
    except TransferError as error:
        return Outcome.failed("not-fetched", str(error))
    try:
        mode = int(arguments.mode, 8) if arguments.mode else None
        directories = NamedDirectories(settings.push_directories, settings.data)
        directories.write(arguments.path, content, mode=mode, replace=arguments.replace)
        return Outcome.succeeded(f"The file was written: {content.stat().st_size} bytes.")
    except PathRefusedError as error:
        return Outcome.failed("refused", str(error))
    except OSError as error:
        return Outcome.failed("not-written", f"the file cannot be written: {error.strerror}")
    finally:
        content.unlink(missing_ok=True)
