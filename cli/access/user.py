"""`dashfleet user`: users of the dashboard."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, Json, Org, user_name
from cli.output import note, show_rows
from cli.settings import effective, require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Manage the users of the dashboard.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(metavar="NAME", help="Name to sign in with.")]
Generate = Annotated[bool, typer.Option("--generate", help="Generate a password and print it. It is shown only once.")]


@app.command("add")
def add(
    name: UserName,
    data: Data = None,
    role: Annotated[str, typer.Option(help="Role: viewer, operator or admin.")] = "viewer",
    org: Org = "home",
    generate: Generate = False,
) -> None:
    """Add a user. Prompts for the password, or generates one."""
    from dashboard.auth.users import add_user, require_new

    require_known_org(data, org)
    with accounts(data) as engine:
        require_new(engine, name, role, org)
        password = _new_password(data, name, generate)
        add_user(engine, name, password, role, org, by=user_name())
    if generate:
        _show_password(name, password)


@app.command("list")
def list_(data: Data = None, as_json: Json = False) -> None:
    """List users: name, role, organisation."""
    from dashboard.auth.users import list_users

    with accounts(data) as engine:
        found = list_users(engine)
    show_rows(found, ("name", "role", "org"), as_json=as_json)


@app.command("password")
def password(name: UserName, data: Data = None, generate: Generate = False) -> None:
    """Change a user's password and end their sessions. Prompts for the password, or generates one."""
    from dashboard.auth.users import require_user, set_password

    with accounts(data) as engine:
        require_user(engine, name)
        new = _new_password(data, name, generate)
        set_password(engine, name, new, by=user_name())
    if generate:
        _show_password(name, new)


@app.command("remove")
def remove(name: UserName, data: Data = None) -> None:
    """Remove a user and end their sessions."""
    from dashboard.auth.users import remove_user

    with accounts(data) as engine:
        remove_user(engine, name, by=user_name())


@app.command("reset-second-factor")
def reset_second_factor(name: UserName, data: Data = None) -> None:
    """Remove a user's authenticator app, passkeys and recovery codes, and end their sessions."""
    from dashboard.auth.second_factor import reset_second_factor as reset

    with accounts(data) as engine:
        reset(engine, name, by=user_name())


@contextmanager
def accounts(data: Path | None) -> "Iterator[Engine]":
    """Open the database of users. Raises UserError."""
    from dashboard.auth.auth_database import open_auth_database
    from runtime.settings.dashboard import DashboardSettings
    from schemas.database.engine import readable_errors

    engine = open_auth_database(effective(DashboardSettings, data).auth_database.get_secret_value())
    try:
        with readable_errors(engine):
            yield engine
    finally:
        engine.dispose()


def require_known_org(data: Path | None, org: str | None) -> None:
    """Raise UserError if the fleet database has no such organisation; None names none."""
    if org is None:
        return
    from runtime.settings.dashboard import DashboardSettings
    from schemas.database.engine import open_engine, require_current

    engine = open_engine(effective(DashboardSettings, data).database.get_secret_value(), read_only=True)
    try:
        require_current(engine)
        require_org(engine, org)
    finally:
        engine.dispose()


def _new_password(data: Path | None, name: str, generate: bool) -> str:
    from dashboard.auth.passwords import check_password, new_password
    from runtime.settings.dashboard import DashboardSettings

    if generate:
        return new_password()
    if not sys.stdin.isatty():
        raise UserError("a password is prompted for on a terminal only: use --generate, which prints a new one")
    password = str(typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True))
    check_password(password, name, effective(DashboardSettings, data).password_min_length)
    return password


def _show_password(name: str, password: str) -> None:
    typer.echo(password)
    note(f"This is the password of {name}. It is shown only once.")
