"""Publishing an operator's requests and following the commands they create."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CLOCK, user_name
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.client.request_client import RequestClient
    from cli.act.display import ProgressDisplay
    from runtime.settings.client import ActSettings
    from schemas.contract.commands import Request, Update

MachinesOrg = Annotated[str | None, typer.Option("--org", help="Organisation of the machines.", show_default="home")]

ACCEPT_SECONDS = 30.0
"""Time to wait until the ingestor answers."""

_READ_SECONDS = 1.0


def actor() -> str:
    """Return user@host for the history; it grants nothing."""
    return "@".join(filter(None, (user_name(), socket.gethostname())))[:256]


@contextmanager
def operator_client(settings: "ActSettings") -> "Iterator[RequestClient]":
    """Connect to the broker as the operator."""
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
        yield RequestClient(transport, principal, clock=CLOCK)
    finally:
        transport.close()


def publish(
    settings: "ActSettings",
    client: "RequestClient",
    requests: "Sequence[Request]",
    on_updates: "Callable[[list[Update]], None]",
    seconds: float = ACCEPT_SECONDS,
) -> bool:
    """Publish until each request is answered; return False if one is not within `seconds`.

    Raises UserError if the broker refuses the credential or cannot be reached.
    """
    from broker.client.request_client import OPERATOR_NAME
    from broker.client.topic_tail import create_hint

    until = CLOCK.now() + round(seconds * 1000)
    for request in requests:
        client.send(settings.org, request, until=until)
    while client.pending:
        on_updates(client.step(0.2))
        if client.refused:
            raise UserError(
                f"the broker at {settings.server} rejected the operator's credential: {client.refused}"
                + create_hint(settings, OPERATOR_NAME, "operator")
            )
        if CLOCK.now() >= until:
            if client.trouble:
                raise UserError(f"cannot reach the broker at {settings.server}: {client.trouble}")
            return False
    return True


def follow(client: "RequestClient", engine: "Engine", display: "ProgressDisplay", seconds: float) -> None:
    """Display updates, and states from the database in case an update was missed, until all commands are settled."""
    from schemas.database.queries.commands import command_states

    deadline, read_at = CLOCK.monotonic() + seconds, 0.0
    while not display.progress.settled and CLOCK.monotonic() < deadline:
        display.apply(client.step(0.2))
        if CLOCK.monotonic() - read_at > _READ_SECONDS:
            read_at = CLOCK.monotonic()
            display.apply_states(command_states(engine, display.progress.unfinished))
