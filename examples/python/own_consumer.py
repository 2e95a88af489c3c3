"""Show the presence of every machine, with DashFleet's own client and its models of the messages.

`Mqtt` connects, reconnects with backoff and subscribes again by itself; `receive` does its work and returns what has
happened. The variables are those of consumer.py.
"""

import os
from pathlib import Path

from pydantic import ValidationError

from broker.client.mqtt import Mqtt
from broker.client.transport import Message
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.presence import PresenceMessage


def show(message: Message) -> None:
    """Print a Presence as a line."""
    address = topics.parse(message.topic)
    if address is None or address.topic is not topics.PRESENCE:
        return
    if not message.payload:
        print(address.machine, "removed", flush=True)
        return
    try:
        found = PresenceMessage.decode(message.payload)
    except ValidationError:
        return
    print(address.machine, found.presence, "" if found.verified else "unverified", flush=True)


def main() -> None:
    """Read for ever."""
    ca_file = os.environ.get("DASHFLEET_CA_FILE")
    transport = Mqtt(
        ServerAddress.parse(os.environ["DASHFLEET_SERVER"]),
        username=os.environ["DASHFLEET_USERNAME"],
        password=os.environ["DASHFLEET_PASSWORD"],
        subscriptions=[(topics.PRESENCE.filter(org=os.environ["DASHFLEET_ORG"]), topics.PRESENCE.qos)],
        ca_file=None if ca_file is None else Path(ca_file),
    )
    while True:
        for event in transport.receive(100, 1.0):
            if isinstance(event, Message):
                show(event)


if __name__ == "__main__":
    main()
