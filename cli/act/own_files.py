"""The arguments of actions that name files of this server: `update` its bundle, `push` the file that `from` names."""

import hashlib
from dataclasses import replace
from pathlib import Path

from cli.act.plan import ActWords
from cli.settings import effective
from runtime.errors import UserError

UPDATE, PUSH, FROM = "update", "push", "from"


def complete(words: ActWords, data: Path | None, org: str, *, offer: bool) -> ActWords:
    """Return the words with the hashes of the files that they name. `offer`: store a file for the machines.

    Raises UserError.
    """
    if words.action == UPDATE and "sha256" not in words.arguments:
        return _with_bundle(words, data)
    if words.action == PUSH and FROM in words.arguments:
        return _with_file(words, data, org, offer=offer)
    return words


def _with_bundle(words: ActWords, data: Path | None) -> ActWords:
    """Add version and hash of this server's bundle, which is built if it is missing.

    Raises UserError if it has another version than the one given.
    """
    from runtime.bundle import builder
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


def _with_file(words: ActWords, data: Path | None, org: str, *, offer: bool) -> ActWords:
    from cli.fleet.files import offer_file

    arguments = {name: value for name, value in words.arguments.items() if name != FROM}
    if "sha256" in arguments:
        raise UserError("from=FILE and sha256=… name a file both: give one of them")
    sha256 = offer_file(data, org, Path(words.arguments[FROM]), store=offer)
    return replace(words, arguments={**arguments, "sha256": sha256})
