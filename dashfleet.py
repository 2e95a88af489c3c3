"""The front door: the command line. Its commands are in `cli/`, a file per group; a part is imported when one runs."""

import sys
from typing import Annotated, NoReturn

import typer

from cli import access, agent, backup, brokers, commands, export, fleet, keys, parts, people, report
from cli.act import act
from runtime.errors import UserError
from runtime.version import VERSION

app = typer.Typer(
    help="See every machine, act on any machine, over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(parts.app)
app.add_typer(agent.app, name="agent")
app.add_typer(fleet.app)
app.add_typer(backup.app)
app.add_typer(export.app)
app.add_typer(report.app)
app.add_typer(brokers.app)
app.add_typer(access.org, name="org")
app.add_typer(access.token, name="token")
app.add_typer(access.principal, name="principal")
app.add_typer(people.app, name="user")
app.add_typer(act.app)
app.add_typer(commands.app, name="commands")
app.add_typer(keys.app, name="key")


def main() -> NoReturn:
    """Run the command line; what the user can mend exits with 2 and one sentence."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"dashfleet: {error}\n")
        sys.exit(2)
    sys.exit(0)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"dashfleet {VERSION}")
        raise typer.Exit


if __name__ == "__main__":
    main()
