"""The commands of `dashfleet notify`."""

import typer

from cli.notify import destinations, routing

app = typer.Typer(help="Manage who is notified of alerts, and see what was sent.", no_args_is_help=True)
for group in (destinations, routing):
    app.add_typer(group.app)
