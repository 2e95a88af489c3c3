"""Effective settings of a command, and the database they name."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from runtime.settings.part_settings import PartSettings

S = TypeVar("S", bound="PartSettings")


def data_directory(given: Path | None) -> Path:
    """Return the state directory: the one given, or the user's."""
    from platformdirs import user_data_path

    try:
        return (given or user_data_path("dashfleet", appauthor=False)).expanduser().absolute()
    except RuntimeError:  # neither HOME nor an entry in the password database
        raise UserError(
            "this user has no home directory: name the state directory with --data or DASHFLEET_DATA"
        ) from None


def effective(
    kind: type[S],
    data: Path | None,
    config: Path | None = None,
    *,
    check: bool = False,
    **given: Any,  # noqa: ANN401 - options of different types
) -> S:
    """Return the effective settings of a part; with `check`, print them and exit. Raises SettingsError."""
    from runtime.settings.loading import load, masked

    directory = data_directory(data)
    settings = load(kind, directory, given, defaults=_defaults(kind.part, directory), configuration=config)
    if check:
        typer.echo(masked(settings))
        raise typer.Exit
    return settings


@contextmanager
def fleet_database(data: Path | None, database: str | None = None, *, read_only: bool = False) -> "Iterator[Engine]":
    """Open the fleet database. Raises DatabaseError unless its schema has this version, and while it cannot be used."""
    from runtime.settings.ingestor import IngestorSettings
    from schemas.database.engine import open_engine, readable_errors, require_current

    settings = effective(IngestorSettings, data, database=database)
    engine = open_engine(settings.database.get_secret_value(), read_only=read_only)
    try:
        require_current(engine)
        with readable_errors(engine):
            yield engine
    finally:
        engine.dispose()


def require_org(engine: "Engine", org: str) -> None:
    """Raise UserError if the organisation does not exist."""
    from schemas.database.queries.settings import has_org

    if not has_org(engine, org):
        raise UserError(f"there is no organisation {org}: dashfleet org list shows them, dashfleet org add creates one")


def require_known(engine: "Engine", org: str | None) -> None:
    """Raise UserError if a list is narrowed to an organisation that does not exist; None does not narrow it."""
    if org is not None:
        require_org(engine, org)


def _defaults(part: str, data: Path) -> Mapping[str, Any]:
    """Defaults that depend on the state directory and on the last `dashfleet up` in it."""
    from runtime.state_directory import StateDirectory
    from schemas.contract.topics import slug

    directory = StateDirectory(data)
    client = {"server": directory.server, "password_file": directory.secret(part), "ca_file": directory.authority}
    database = {"database": directory.database_url}
    people = {"auth_database": directory.people_url, "key_file": directory.secret("notification-key")}
    signing = {"signing_keys": directory.signing}
    defaults: dict[str, dict[str, Any]] = {
        "broker": {**database, **directory.listener},
        "mosquitto": {**database, "directory": data / "mosquitto"},
        "nats": {**database, "directory": data / "nats"},
        "ingestor": {**client, **database},
        "agent": {**client, "machine": directory.machine or slug(socket.gethostname()), **directory.enrolled},
        "dashboard": {**client, **database, **signing, **people},
        "notifier": {**client, **database, **people},
        "homeassistant": {**client, **signing, "to_password_file": directory.homeassistant_password},
        "watch": client,
        "act": {**client, **signing},
    }
    return defaults[part]
