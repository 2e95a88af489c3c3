"""The front door: the command line. It only wires, and imports a part only when its command runs."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from schemas.errors import StartError
from schemas.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

app = typer.Typer(
    help="See every machine, act on any machine, over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

machine = typer.Typer(help="Add machines.", no_args_is_help=True)
app.add_typer(machine, name="machine")

user = typer.Typer(help="Say who may sign in to the dashboard.", no_args_is_help=True)
app.add_typer(user, name="user")

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="DASHFLEET_DATA", help="The state directory.", show_default="the user's", metavar="DIR"
    ),
]
Configuration = Annotated[
    Path | None, typer.Option("--config", help="A configuration file instead of dashfleet.toml in the state directory.")
]
Server = Annotated[str | None, typer.Option(help="The broker's address, mqtt://HOST:PORT or mqtts://HOST:PORT.")]
Database = Annotated[str | None, typer.Option(help="SQLAlchemy URL of the fleet's database.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Check = Annotated[bool, typer.Option("--check", help="Print the effective settings, secrets masked, and exit.")]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it, only this once.")]
PortOption = Annotated[int | None, typer.Option(help="The port to listen on.", min=1, max=65_535)]


def main() -> NoReturn:
    """Run the command line; what the user can mend exits with 2 and one sentence."""
    try:
        app()
    except StartError as error:
        sys.stderr.write(f"dashfleet: {error}\n")
        sys.exit(2)
    sys.exit(0)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"dashfleet {VERSION}")
        raise typer.Exit


@app.command()
def up(
    data: Data = None,
    broker_port: Annotated[int, typer.Option(help="The port of the embedded broker.", min=1, max=65_535)] = 1883,
    dashboard_port: Annotated[int, typer.Option(help="The port of the dashboard.", min=1, max=65_535)] = 8501,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between two samples of this machine.", min=0.05)
    ] = None,
    agent: Annotated[bool, typer.Option("--agent/--no-agent", help="Also watch this machine.")] = True,
) -> None:
    """Run everything on this machine: broker, ingestor, an agent, dashboard."""
    from installation import Installation, Options
    from schemas.process import Stop

    os.umask(0o077)  # what the parts write is nobody else's to read, also in a directory that others may enter
    stop = Stop()
    options = Options(broker_port, dashboard_port, interval, agent)
    with Installation.prepare(_data(data), options) as installation:
        installation.run(say=_say, stopping=lambda: stop.asked)


@app.command()
def broker(
    data: Data = None,
    config: Configuration = None,
    bind: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: PortOption = None,
    database: Database = None,
    check: Check = False,
) -> None:
    """Run the embedded broker."""
    from schemas.settings import BrokerSettings

    settings = _settings(BrokerSettings, data, config, check, bind=bind, port=port, database=database)
    from broker.embedded import run
    from broker.principals import TableDirectory
    from schemas.database import open_engine, require_current
    from schemas.process import say_ready, start_logging, watch_the_supervisor

    start_logging(settings.log_level)
    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    watch_the_supervisor()
    run(settings, TableDirectory(engine), lambda: say_ready(f"mqtt://{settings.bind}:{settings.port}"))


@app.command()
def ingestor(
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    database: Database = None,
    check: Check = False,
) -> None:
    """Store what machines publish, and decide who is online."""
    from schemas.settings import IngestorSettings

    settings = _settings(IngestorSettings, data, config, check, server=server, database=database)
    from ingestor.run import run
    from schemas.process import start_logging

    start_logging(settings.log_level)
    run(settings)


@app.command()
def agent(
    data: Data = None,
    config: Configuration = None,
    server: Server = None,
    org: Annotated[str | None, typer.Option(help="The organisation of this machine.")] = None,
    machine_id: Annotated[
        str | None, typer.Option("--machine", help="This machine's id.", show_default="the hostname")
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between two samples.", min=0.05)] = None,
    check: Check = False,
) -> None:
    """Watch this machine. The password: DASHFLEET_AGENT_PASSWORD, or a file named in DASHFLEET_AGENT_PASSWORD_FILE."""
    from schemas.settings import AgentSettings

    settings = _settings(
        AgentSettings, data, config, check, server=server, org=org, machine=machine_id, interval_seconds=interval
    )
    from schemas.process import become

    become("agent", settings)


@app.command()
def dashboard(
    data: Data = None,
    config: Configuration = None,
    bind: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: PortOption = None,
    database: Database = None,
    check: Check = False,
) -> None:
    """Serve the dashboard."""
    from schemas.settings import DashboardSettings

    settings = _settings(DashboardSettings, data, config, check, bind=bind, port=port, database=database)
    from dashboard.app import run
    from schemas.database import open_engine, require_current
    from schemas.process import say_ready, start_logging, watch_the_supervisor

    start_logging(settings.log_level)
    require_current(open_engine(settings.database.get_secret_value(), read_only=True))
    watch_the_supervisor()
    run(settings, lambda: say_ready(f"http://{settings.bind}:{settings.port}"))


@app.command()
def machines(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the machines: who is there, how they are, when they were heard."""
    from ingestor.machines import machine_table

    found = _list_machines(data, database)
    _print(found if as_json else machine_table(found, now=time.time()))


@app.command()
def ledger(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Say of every machine where its samples are: stored, late, dropped, still waiting, lost."""
    from ingestor.machines import ledger_table

    found = _list_machines(data, database)
    plain = [{name: row[name] for name in ("org", "machine", "ledger")} for row in found]
    _print(plain if as_json else ledger_table(found))


@machine.command("add")
def add_machine(
    name: Annotated[str, typer.Argument(help="The machine's id: lower-case letters, digits, hyphens.")],
    data: Data = None,
    org: Annotated[str, typer.Option(help="The organisation it belongs to.")] = "home",
    database: Database = None,
) -> None:
    """Let another machine connect. Prints its secret, only this once."""
    from schemas.settings import IngestorSettings

    settings = _settings(IngestorSettings, data, None, False, database=database)
    from ingestor.admin import new_machine
    from schemas.database import open_engine, require_current

    engine = open_engine(settings.database.get_secret_value())
    require_current(engine)
    typer.echo(new_machine(engine, org, name, now=lambda: time.time_ns() // 1_000_000))
    typer.echo(f"That is the secret of {org}/{name}; it is shown only this once.", err=True)
    engine.dispose()


@user.command("add")
def add_user(
    name: UserName,
    data: Data = None,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    org: Annotated[str, typer.Option(help="The organisation whose machines they see.")] = "home",
    generate: Generate = False,
) -> None:
    """Let a person sign in. Asks for the password, or makes one."""
    with _people(data) as people:
        from dashboard.accounts import add_user as add

        password = _new_password(name, generate)
        add(people, name, password, role, org)
    if generate:
        _show_password(name, password)


@user.command("list")
def list_users(data: Data = None, as_json: Json = False) -> None:
    """List who may sign in: name, role, organisation."""
    with _people(data) as people:
        from dashboard.accounts import list_users as listed

        found = listed(people)
    _print(found if as_json else _table(found, ("name", "role", "org")))


@user.command("password")
def change_password(name: UserName, data: Data = None, generate: Generate = False) -> None:
    """Give a person another password, and sign them out everywhere. Asks for it, or makes one."""
    with _people(data) as people:
        from dashboard.accounts import require_user, set_password

        require_user(people, name)
        password = _new_password(name, generate)
        set_password(people, name, password)
    if generate:
        _show_password(name, password)


@user.command("remove")
def remove_user(name: UserName, data: Data = None) -> None:
    """Let a person sign in no more, and sign them out everywhere."""
    with _people(data) as people:
        from dashboard.accounts import remove_user as remove

        remove(people, name)


@app.command()
def watch(
    data: Data = None,
    server: Server = None,
    org: Annotated[str, typer.Option(help="The organisation to watch.")] = "home",
    as_json: Json = False,
) -> None:
    """Subscribe to an organisation's topics and print what passes, until Ctrl-C."""
    from schemas.settings import WatchSettings

    settings = _settings(WatchSettings, data, None, False, server=server, org=org)
    from broker.watch import as_json_lines, as_text
    from broker.watch import watch as run

    run(settings, show=as_json_lines if as_json else as_text)


def _list_machines(data: Path | None, database: str | None) -> list[dict[str, Any]]:
    from schemas.settings import IngestorSettings

    settings = _settings(IngestorSettings, data, None, False, database=database)
    from ingestor.machines import list_machines
    from schemas.database import open_engine, require_current

    engine = open_engine(settings.database.get_secret_value(), read_only=True)
    require_current(engine)
    found = list_machines(engine)
    engine.dispose()
    return found


@contextmanager
def _people(data: Path | None) -> Iterator[Any]:
    """The engine of the auth database."""
    from schemas.settings import DashboardSettings

    settings = _settings(DashboardSettings, data, None, False)
    from dashboard.accounts import open_accounts

    people = open_accounts(settings.auth_database.get_secret_value())
    try:
        yield people
    finally:
        people.dispose()


def _new_password(name: str, generate: bool) -> str:
    """A new password for somebody: made, or asked for without showing it."""
    from dashboard.accounts import new_password

    if generate:
        return new_password()
    return str(typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True))


def _show_password(name: str, password: str) -> None:
    typer.echo(password)
    typer.echo(f"That is the password of {name}; it is shown only this once.", err=True)


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone, which is no reason not to stop in order
        typer.echo(line)


def _table(found: "list[dict[str, str]]", columns: tuple[str, ...]) -> "Table":
    from rich.table import Table

    shown = Table(*(column.capitalize() for column in columns), box=None, pad_edge=False, header_style="bold")
    for row in found:
        shown.add_row(*(row[column] for column in columns))
    return shown


def _print(what: "list[dict[str, Any]] | Table") -> None:
    """Print a table for a person, or a list as JSON."""
    from rich.console import Console

    if isinstance(what, list):
        typer.echo(json.dumps(what, indent=2))
    else:
        Console().print(what)


def _settings(kind: type[Any], data: Path | None, config: Path | None, check: bool, **given: Any) -> Any:  # noqa: ANN401
    """The effective settings of a part; with `check`, print them and exit."""
    from schemas.settings import load, masked

    directory = _data(data)
    settings = load(kind, directory, given, defaults=_defaults(kind.part, directory), configuration=config)
    if check:
        typer.echo(masked(settings))
        raise typer.Exit
    return settings


def _data(given: Path | None) -> Path:
    from platformdirs import user_data_path

    return (given or user_data_path("dashfleet", appauthor=False)).expanduser().absolute()


def _defaults(part: str, data: Path) -> "Mapping[str, Any]":
    """What depends on the state directory, and on the last `dashfleet up` in it."""
    from schemas.layout import Layout
    from schemas.topics import slug

    layout = Layout(data)
    client = {"server": layout.server, "password_file": layout.secret(part)}
    database = {"database": layout.database_url}
    defaults: dict[str, dict[str, Any]] = {
        "broker": database,
        "ingestor": {**client, **database},
        "agent": {**client, "machine": layout.machine or slug(socket.gethostname())},
        "dashboard": {**database, "auth_database": layout.people_url},
        "watch": client,
    }
    return defaults[part]


if __name__ == "__main__":
    main()
