"""The action `move`: move this machine to another server, which must acknowledge a sample first.

The machine keeps its id and its secret; the new server has the record of the secret (`dashfleet move import`). What
waits in the outbox moves along. `agent.relocation.trial` tries the new server while the old one stays connected;
`agent.relocation.move_record` is the move itself.
"""

import hashlib
import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.relocation.move_record import MoveRecord, read_move, require_not_moving, write_move
from agent.relocation.trial import TRIAL_SECONDS, OpenTrialTransport, Trial
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff
from runtime import files
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from schemas.relocation.destination import DESTINATION_MAX, MoveDestination


class MoveArguments(Arguments):
    """The text that `dashfleet move import` writes on the new server."""

    destination: Annotated[
        str,
        Field(
            title="Destination",
            description="The text that dashfleet move import writes on the new server",
            max_length=DESTINATION_MAX,
        ),
    ]


def _check(arguments: MoveArguments, settings: AgentSettings) -> None:
    destination = MoveDestination.read(arguments.destination)
    if (destination.server, destination.org) == (settings.server, settings.org):
        raise ValueError(f"this machine is at {settings.server} already")
    require_not_moving(settings)
    if settings.address.tls and not (destination.address.tls or destination.address.is_loopback):
        raise ValueError(
            f"the connection to {destination.server} would not be encrypted, and that to {settings.server} is: name "
            "the new server with mqtts://"
        )


@action(MoveArguments, title="Move to another server", check=_check, seconds=TRIAL_SECONDS + 60, replaces_agent=True)
def move(arguments: MoveArguments, context: ActionContext) -> Outcome:
    """Try the new server; if it acknowledges a sample, belong to it from now on, and restart when that is reported."""
    destination, settings = MoveDestination.read(arguments.destination), context.settings
    authority = _write_authority(settings, destination.ca)
    result = Trial(
        _opened_by(settings, destination, authority),
        org=destination.org,
        machine=settings.machine,
        home_session=context.session,
        interval_seconds=settings.interval_seconds,
        stream=secrets.token_hex(8),
        readings=context.readings,
        clock=SystemClock(),
    ).run()
    before = read_move(settings.data)
    if result.problem:
        if authority is not None and authority != settings.ca_file:
            authority.unlink(missing_ok=True)
        detail = f"{destination.server} did not acknowledge a sample within {TRIAL_SECONDS:g} s ({result.problem})"
        return Outcome.failed("not-acknowledged", f"{detail}: the machine stays at {settings.server}")
    receiver = context.order.id
    if result.is_same_server:
        receiver = "" if before is None else before.receiver
    record = MoveRecord(
        configured=settings.server if before is None else before.configured,
        server=destination.server,
        org=destination.org,
        ca_file=None if authority is None else str(authority),
        keys=destination.keys,
        receiver=receiver,
    )
    write_move(settings.data, record)
    context.leave()
    return Outcome.succeeded(f"{destination.server} has acknowledged a sample: this machine belongs to it now.")


def _write_authority(settings: AgentSettings, ca: str | None) -> Path | None:
    """Write the CA certificate beside that of the present server, under a name of its own, and return its file."""
    if ca is None:
        return None
    path = settings.data / "agent" / f"ca-{hashlib.sha256(ca.encode()).hexdigest()[:16]}.pem"
    with suppress(FileNotFoundError):
        if path.read_text() == ca:
            return path
    files.replace(path, ca)
    return path


def _opened_by(settings: AgentSettings, destination: MoveDestination, authority: Path | None) -> OpenTrialTransport:
    username = Principal(Role.MACHINE, destination.org, settings.machine).username
    opened = partial(
        Mqtt,
        destination.address,
        username=username,
        password=settings.secret(),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=authority,
        backoff=Backoff(first_seconds=1.0, most_seconds=8.0),
    )
    return lambda subscriptions, will: opened(subscriptions=subscriptions, will=will)
