"""Publishing an operator's requests from a terminal, and hearing what becomes of them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.act.progress import Progress, line, picture, summary
from runtime.errors import UserError

if TYPE_CHECKING:
    from rich.live import Live
    from sqlalchemy import Engine

    from broker.client.request_client import RequestClient
    from runtime.settings.client import ActSettings
    from schemas.contract.commands import Request

Org = Annotated[str | None, typer.Option(help="The organisation whose machines are meant.", show_default="home")]

ACCEPT_SECONDS = 30.0
"""How long to wait for the ingestor's answer."""

_READ_SECONDS = 1.0


@contextmanager
def client_of(settings: "ActSettings") -> "Iterator[RequestClient]":
    """An operator's connection to the broker, for as long as it is needed."""
    from broker.access.policy import Principal, Role
    from broker.client.mqtt import Mqtt
    from broker.client.request_client import OPERATOR_NAME, RequestClient

    principal = Principal(Role.OPERATOR, settings.org, OPERATOR_NAME)
    transport = Mqtt(
        settings.address,
        username=principal.username,
        password=settings.secret(),
        subscriptions=RequestClient.subscriptions(principal),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
    )
    try:
        yield RequestClient(transport, principal, now=now, monotonic=time.monotonic)
    finally:
        transport.close()


def publish(
    settings: "ActSettings",
    client: "RequestClient",
    asked: "list[Request]",
    progress: Progress,
    live: "Live | None" = None,
) -> bool:
    """Publish until every request is answered; whether they were in time. Raises UserError when that cannot be."""
    until = now() + round(ACCEPT_SECONDS * 1000)
    for request in asked:
        client.send(settings.org, request, until=until)
    while client.pending:
        _hear(client, progress, live)
        if client.refused:
            raise UserError(f"the broker at {settings.server} refused the operator's secret: {client.refused}")
        if now() >= until:
            if client.trouble:
                raise UserError(f"cannot reach the broker at {settings.server}: {client.trouble}")
            return False
    return True


def follow(client: "RequestClient", engine: "Engine", progress: Progress, deadline: float, live: "Live | None") -> None:
    """Take up updates as they come, and what the database says, as an update may have been missed."""
    from schemas.database.queries.commands import command_states

    read_at = 0.0
    while not progress.settled and time.monotonic() < deadline:
        _hear(client, progress, live)
        if time.monotonic() - read_at > _READ_SECONDS:
            read_at = time.monotonic()
            _say(progress.read(command_states(engine, progress.unfinished)), progress, live)


@contextmanager
def shown(progress: Progress, *, quiet: bool) -> "Iterator[Live | None]":
    """A picture that is redrawn in a terminal; a line for each change elsewhere; nothing for programs."""
    from rich.console import Console
    from rich.live import Live

    if quiet:
        yield None
        return
    console = Console()
    live = Live(picture(progress), console=console, refresh_per_second=8)
    if not console.is_terminal:
        yield live
        typer.echo(summary(progress))
        return
    with live:
        yield live


def _hear(client: "RequestClient", progress: Progress, live: "Live | None") -> None:
    _say([row for update in client.step(0.2) for row in progress.hear(update)], progress, live)


def _say(changed: "list[Any]", progress: Progress, live: "Live | None") -> None:
    if live is None:
        return
    if live.console.is_terminal:
        live.update(picture(progress))
    else:
        for row in changed:
            typer.echo(line(row))


def person() -> str:
    """Who types, for the history: it decides nothing."""
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"[:256]
    except (OSError, KeyError):  # no user of this number, as in some containers
        return socket.gethostname()[:256]


def note(text: str) -> None:
    """Say something beside the result."""
    typer.echo(text, err=True)


def now() -> int:
    """Milliseconds of this machine's clock."""
    return time.time_ns() // 1_000_000
