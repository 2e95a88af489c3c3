"""The database of users as the commands of `dashfleet notify` use it, and the cells of their tables.

A running notifier reads what the commands change within a second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.settings import effective
from runtime.terminal import printable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.people.secret_box import SecretBox

DestinationName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the destination.")]


@dataclass(frozen=True, slots=True)
class PeopleStore:
    """The database, the key of the notifications, and the settings of the notifier that commands need."""

    engine: "Engine"
    box: "SecretBox"
    allow_private: bool
    data: Path


@contextmanager
def open_people(data: Path | None) -> Iterator[PeopleStore]:
    """Open the database of users and the key of the notifications. Raises UserError, also while it cannot be used."""
    from runtime.settings.notifier import NotifierSettings
    from schemas.database.engine import readable_errors
    from schemas.people.people_store import open_people_store
    from schemas.people.secret_box import SecretBox

    settings = effective(NotifierSettings, data)
    engine = open_people_store(settings.auth_database.get_secret_value())
    try:
        with readable_errors(engine):
            yield PeopleStore(engine, SecretBox.load(settings.key_file), settings.allow_private, settings.data)
    finally:
        engine.dispose()


def forget_org(data: Path | None, org: str) -> None:
    """Delete what an organisation that is removed has in the database of users, if there is one. Raises UserError."""
    from runtime.settings.notifier import NotifierSettings
    from schemas.database.engine import readable_errors
    from schemas.people.people_store import has_people_store, open_people_store, remove_org_records

    url = effective(NotifierSettings, data).auth_database.get_secret_value()
    if not has_people_store(url):
        return
    engine = open_people_store(url)
    try:
        with readable_errors(engine):
            remove_org_records(engine, org)
    finally:
        engine.dispose()


def cells(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a row as text for a terminal."""
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, dict):
        return printable(", ".join(f"{key}={each}" for key, each in value.items()))
    if isinstance(value, list):
        return str(len(value)) if value and isinstance(value[0], dict) else printable(", ".join(map(str, value)))
    return printable(str(value))
