"""`dashfleet watch`: print an organisation's messages as they arrive."""

import typer

from cli.options import Data, Json, Org, Server
from cli.settings import effective

app = typer.Typer()


@app.command()
def watch(data: Data = None, server: Server = None, org: Org = "home", as_json: Json = False) -> None:
    """Subscribe to an organisation's topics and print each message, until Ctrl-C."""
    from broker.client import topic_tail
    from runtime.settings.client import WatchSettings

    settings = effective(WatchSettings, data, server=server, org=org)
    topic_tail.watch(settings, show=topic_tail.as_json_lines if as_json else topic_tail.as_text)
