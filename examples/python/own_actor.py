"""Run an action on one machine and wait for its outcome, with DashFleet's own client.

`RequestClient` publishes a Request until it is answered; `act` signs the orders. The variables are those of actor.py.
"""

import os
import sys
from pathlib import Path

from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.request_client import RequestClient, act, orders
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from schemas.contract.commands import Update

OUTCOMES = ("succeeded", "failed", "rejected", "expired", "cancelled")
LIFETIME_SECONDS = 600.0


def outcome(updates: list[Update], request: str) -> str:
    """Return the final state in these updates of a request, or an empty text."""
    for update in (update for update in updates if update.request == request):
        print(update.state, update.detail, flush=True)
        if update.state == "refused" or (update.command is not None and update.state in OUTCOMES):
            return update.state
    return ""


def main() -> int:
    """Return the exit status: 0 if the machine has succeeded."""
    clock, org, name = SystemClock(), os.environ["DASHFLEET_ORG"], os.environ["DASHFLEET_USERNAME"]
    principal = Principal(Role.OPERATOR, org, name.partition("._")[2])
    ca_file = os.environ.get("DASHFLEET_CA_FILE")
    transport = Mqtt(
        ServerAddress.parse(os.environ["DASHFLEET_SERVER"]),
        username=name,
        password=os.environ["DASHFLEET_PASSWORD"],
        subscriptions=RequestClient.subscriptions(principal),
        ca_file=None if ca_file is None else Path(ca_file),
    )
    client = RequestClient(transport, principal, clock=clock)
    machine, action = os.environ["DASHFLEET_MACHINE"], os.environ["DASHFLEET_ACTION"]
    wanted = orders([machine], action, {}, org=org, now=clock.now(), lifetime_seconds=LIFETIME_SECONDS)
    (request,) = act(wanted, Path(os.environ["DASHFLEET_KEY"]).read_text().strip(), actor="example")
    state, was_connected = "", False
    while not state:
        if was_connected != client.connected:
            was_connected = client.connected
            client.send(org, request, until=wanted[0].expires_at)  # its updates may have been missed
        state = outcome(client.step(0.5), request.id)
    transport.close()
    return int(state != "succeeded")


if __name__ == "__main__":
    sys.exit(main())
