"""Entry point of the command line. Commands are in `cli/`; a part is imported only when its command runs."""

import io
import sys
from typing import Annotated, NoReturn

import typer

from cli import alerts, backup, brokers, bundle, export, machines, report, run, silence, watch
from cli.access import api_token, key, org, principal, token, user
from cli.act import command, commands
from cli.agent import command as agent
from cli.contract import conform, document
from cli.fleet import dead_letters, facts
from cli.notify import command as notify
from cli.rules import rule
from cli.up import command as up
from runtime.errors import UserError
from runtime.extras import missing_extra
from runtime.version import VERSION

app = typer.Typer(
    help="See every machine, act on any machine, over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (up, run, machines, facts, watch, backup, export, report, brokers, bundle, document, command):
    app.add_typer(group.app)
for name, group in {
    "agent": agent,
    "alerts": alerts,
    "rule": rule,
    "silence": silence,
    "org": org,
    "token": token,
    "api-token": api_token,
    "principal": principal,
    "user": user,
    "commands": commands,
    "key": key,
    "dead-letters": dead_letters,
    "notify": notify,
    "conform": conform,
}.items():
    app.add_typer(group.app, name=name)


def main() -> NoReturn:
    """Run the command line. A UserError, or a missing extra, exits with 2 and prints a sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that the locale's encoding does not have
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"dashfleet: {error}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (extra := missing_extra(error.name)) is None:
            raise
        sys.stderr.write(f"dashfleet: this command needs {error.name}: install dashfleet[{extra}]\n")
        sys.exit(2)
    sys.exit(0)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"dashfleet {VERSION}")
        raise typer.Exit


if __name__ == "__main__":
    main()
