"""`dashfleet watch`: print an organisation's messages as they arrive."""

from typing import Annotated

import typer

from cli.options import Data, Json, Org, Server
from cli.settings import effective

app = typer.Typer()

Live = Annotated[
    list[str] | None,
    typer.Option(
        "--live",
        metavar="MACHINE",
        help="Print only this machine's readings, which it sends every second for as long as this runs. Repeatable.",
        show_default=False,
    ),
]


@app.command()
def watch(
    data: Data = None, server: Server = None, org: Org = "home", live: Live = None, as_json: Json = False
) -> None:
    """Subscribe to an organisation's topics and print each message, until Ctrl-C."""
    from broker.client import topic_tail
    from runtime.errors import UserError
    from runtime.settings.client import WatchSettings
    from schemas.contract.topics import is_id

    machines = live or []
    for machine in machines:
        if not is_id(machine):
            raise UserError(f"{machine!r} is not the id of a machine: dashfleet machines lists them")
    settings = effective(WatchSettings, data, server=server, org=org)
    topic_tail.watch(settings, show=topic_tail.as_json_lines if as_json else topic_tail.as_text, live=machines)
