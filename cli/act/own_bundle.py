"""The arguments of `update` that are not given: version and hash of the bundle of this server."""

import hashlib
from dataclasses import replace
from pathlib import Path

from cli.act.plan import ActWords
from cli.settings import effective

UPDATE = "update"


def complete(words: ActWords, data: Path | None) -> ActWords:
    """Return the words with version and hash of this server's bundle, which is built if it is missing.

    Raises UserError if it has another version than the one given.
    """
    if words.action != UPDATE or "sha256" in words.arguments:
        return words
    from runtime.bundle import builder
    from runtime.errors import UserError
    from runtime.settings.ingestor import IngestorSettings
    from runtime.state_directory import StateDirectory

    settings = effective(IngestorSettings, data)
    manifest = builder.ensure(settings.bundle or StateDirectory(settings.data).bundle)
    wanted = words.arguments.get("version", manifest.version)
    if wanted != manifest.version:
        raise UserError(
            f"the bundle of this server has version {manifest.version}, not {wanted}: machines are updated to the "
            "version of their server, so update the server first"
        )
    given = {"version": manifest.version, "sha256": hashlib.sha256(manifest.encode()).hexdigest()}
    return replace(words, arguments={**words.arguments, **given})
