"""`dashfleet user`: who may sign in to the dashboard."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Data, Json, effective, show, somebody, table

app = typer.Typer(help="Say who may sign in to the dashboard.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it, only this once.")]


@app.command("add")
def add_user(
    name: UserName,
    data: Data = None,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    org: Annotated[str, typer.Option(help="The organisation whose machines they see.")] = "home",
    generate: Generate = False,
) -> None:
    """Let a person sign in. Asks for the password, or makes one."""
    with _people(data) as people:
        from dashboard.auth.users import add_user as add

        password = _new_password(name, generate)
        add(people, name, password, role, org, by=somebody())
    if generate:
        _show_password(name, password)


@app.command("list")
def list_users(data: Data = None, as_json: Json = False) -> None:
    """List who may sign in: name, role, organisation."""
    with _people(data) as people:
        from dashboard.auth.users import list_users as listed

        found = listed(people)
    show(found if as_json else table(found, ("name", "role", "org")))


@app.command("password")
def change_password(name: UserName, data: Data = None, generate: Generate = False) -> None:
    """Give a person another password, and sign them out everywhere. Asks for it, or makes one."""
    with _people(data) as people:
        from dashboard.auth.users import require_user, set_password

        require_user(people, name)
        password = _new_password(name, generate)
        set_password(people, name, password, by=somebody())
    if generate:
        _show_password(name, password)


@app.command("remove")
def remove_user(name: UserName, data: Data = None) -> None:
    """Let a person sign in no more, and sign them out everywhere."""
    with _people(data) as people:
        from dashboard.auth.users import remove_user as remove

        remove(people, name, by=somebody())


@contextmanager
def _people(data: Path | None) -> Iterator[Any]:
    """The engine of the auth database."""
    from runtime.settings.dashboard import DashboardSettings

    settings = effective(DashboardSettings, data, None, False)
    from dashboard.auth.auth_database import open_auth_database

    people = open_auth_database(settings.auth_database.get_secret_value())
    try:
        yield people
    finally:
        people.dispose()


def _new_password(name: str, generate: bool) -> str:
    """A new password for somebody: made, or asked for without showing it."""
    from dashboard.auth.passwords import new_password

    if generate:
        return new_password()
    return str(typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True))


def _show_password(name: str, password: str) -> None:
    typer.echo(password)
    typer.echo(f"That is the password of {name}; it is shown only this once.", err=True)
