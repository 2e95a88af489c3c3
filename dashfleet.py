"""Entry point of the command line. Commands are in `cli/`; a module is imported only when its command runs."""

import io
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from runtime.errors import UserError
from runtime.extras import missing_extra
from runtime.version import VERSION

COMMANDS = {
    "cli.up.command": ("up", "setup"),
    "cli.run": ("broker", "mosquitto", "nats", "ingestor", "dashboard", "notifier", "homeassistant", "heartbeat"),
    "cli.machines": ("machines", "ledger"),
    "cli.fleet.facts": ("facts",),
    "cli.watch": ("watch",),
    "cli.backup": ("backup", "restore"),
    "cli.export": ("export",),
    "cli.report": ("report",),
    "cli.brokers": ("tls", "emqx"),
    "cli.bundle": ("bundle",),
    "cli.contract.document": ("contract",),
    "cli.simulate": ("simulate",),
    "cli.act.command": ("act",),
}
"""The modules of commands, and what commands each has."""

GROUPS = {
    "agent": "cli.agent.command",
    "alerts": "cli.alerts",
    "rule": "cli.rules.rule",
    "silence": "cli.silence",
    "org": "cli.access.org",
    "token": "cli.access.token",
    "api-token": "cli.access.api_token",
    "principal": "cli.access.principal",
    "user": "cli.access.user",
    "commands": "cli.act.commands",
    "key": "cli.access.key",
    "dead-letters": "cli.fleet.dead_letters",
    "notify": "cli.notify.command",
    "conform": "cli.contract.conform",
    "move": "cli.fleet.move",
    "drill": "cli.drill.command",
}
"""The groups of commands, and the module of each."""


def application(only: str | None = None) -> typer.Typer:
    """Assemble the command line. If `only` is the name of a command or a group, leave out the modules of others."""
    app = typer.Typer(
        help="See every machine, act on any machine, over MQTT.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_version)
    modules = [module for module, names in COMMANDS.items() if only in names]
    groups = [name for name in GROUPS if name == only]
    if not modules and not groups:
        modules, groups = list(COMMANDS), list(GROUPS)
    for module in modules:
        app.add_typer(import_module(module).app)
    for name in groups:
        app.add_typer(import_module(GROUPS[name]).app, name=name)
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
