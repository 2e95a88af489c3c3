"""Entry point of the command line. Commands are in `cli/`; a module is imported only when its command runs."""

import io
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from runtime.errors import UserError
from runtime.extras import missing_extra
from runtime.version import VERSION

COMMANDS = {
    "Run everything, add machines": {
        "up": "cli.up.command",
        "token": "cli.access.token",
        "agent": "cli.agent.command",
        "bundle": "cli.bundle",
        "move": "cli.fleet.move",
    },
    "See the fleet": {
        "machines": "cli.machines",
        "facts": "cli.fleet.facts",
        "watch": "cli.watch",
        "ledger": "cli.machines",
        "dead-letters": "cli.fleet.dead_letters",
        "export": "cli.export",
        "report": "cli.report",
    },
    "Act on machines": {
        "act": "cli.act.command",
        "files": "cli.fleet.files",
        "commands": "cli.act.commands",
        "key": "cli.access.key",
    },
    "Alerts and notifications": {
        "alerts": "cli.alerts",
        "rule": "cli.rules.rule",
        "silence": "cli.silence",
        "notify": "cli.notify.command",
    },
    "Access": {
        "org": "cli.access.org",
        "user": "cli.access.user",
        "principal": "cli.access.principal",
        "api-token": "cli.access.api_token",
    },
    "Parts of the server": {
        "setup": "cli.up.command",
        "broker": "cli.run",
        "ingestor": "cli.run",
        "dashboard": "cli.run",
        "notifier": "cli.run",
        "homeassistant": "cli.run",
        "mosquitto": "cli.run",
        "nats": "cli.run",
        "emqx": "cli.brokers",
        "tls": "cli.brokers",
        "heartbeat": "cli.run",
        "backup": "cli.backup",
        "restore": "cli.backup",
    },
    "Contract, sizing and tests": {
        "contract": "cli.contract.document",
        "conform": "cli.contract.conform",
        "replay": "cli.contract.replay",
        "simulate": "cli.simulate",
        "drill": "cli.drill.command",
    },
}
"""The commands and groups of commands by subject, as the help lists them, and the module of each."""

GROUPS = frozenset(
    (
        *("token", "agent", "move", "dead-letters", "commands", "key", "alerts", "rule", "silence", "notify", "files"),
        *("org", "user", "principal", "api-token", "conform", "drill"),
    )
)
"""Names of `COMMANDS` that are groups: they have commands below them."""


class CommandsBySubject(TyperGroup):
    """The commands in the order of `COMMANDS`, each in the help panel of its subject."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - a context of Typer's own kind of click
        """Return the names of the commands that were assembled."""
        return [name for commands in COMMANDS.values() for name in commands if name in self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - Typer's own kind of click
        """Return the command with this name, None if there is none."""
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None:
            command.rich_help_panel = next((subject for subject, names in COMMANDS.items() if cmd_name in names), None)
        return command


def application(only: str | None = None) -> typer.Typer:
    """Assemble the command line. If `only` is the name of a command or a group, leave out the modules of others."""
    app = typer.Typer(
        cls=CommandsBySubject,
        help="See every machine, act on any machine, over MQTT.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_version)
    modules = {name: module for commands in COMMANDS.values() for name, module in commands.items()}
    wanted = [only] if only in modules else list(modules)
    for name in wanted:
        if name in GROUPS:
            app.add_typer(import_module(modules[name]).app, name=name)
    for module in dict.fromkeys(modules[name] for name in wanted if name not in GROUPS):
        app.add_typer(import_module(module).app)
    return app


@cache
def command_line(only: str | None) -> Any:  # noqa: ANN401 - a command of Typer's own kind of click
    """Return the command line that `application` assembles, ready to be run; built once in a process."""
    return typer.main.get_command(application(only))


def main() -> NoReturn:
    """Run the command line and exit. A UserError, or a missing extra, exits with 2 and prints a sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that the locale's encoding does not have
    run(command_line(sys.argv[1] if len(sys.argv) > 1 else None))


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command and exit, as `main`."""
    try:
        command()
    except UserError as error:
        sys.stderr.write(f"dashfleet: {error}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (extra := missing_extra(error.name)) is None:
            raise
        sys.stderr.write(f"dashfleet: this command needs {error.name}: install dashfleet[{extra}]\n")
        sys.exit(2)
    sys.exit(0)


def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"dashfleet {VERSION}")
        raise typer.Exit


if __name__ == "__main__":
    main()
