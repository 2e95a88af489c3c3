"""Show the presence of every machine of an organisation, with paho-mqtt 2.

DASHFLEET_SERVER, DASHFLEET_USERNAME, DASHFLEET_PASSWORD and DASHFLEET_ORG say where and as whom to connect:
`dashfleet principal add robot --role reader` creates a credential.
"""

import json
import os
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

SERVER = urlsplit(os.environ["DASHFLEET_SERVER"])
NAME = os.environ["DASHFLEET_USERNAME"]
PRESENCE = f"dashfleet/v1/{os.environ['DASHFLEET_ORG']}/_presence/+"


def on_connect(client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
    """Subscribe after every connect: sessions are clean, so a new one has no subscription."""
    if not reason.is_failure:
        client.subscribe(PRESENCE, qos=1)


def on_message(_client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Show a Presence. An exception here would end the client, so what cannot be read is skipped."""
    machine = message.topic.rpartition("/")[2]
    if not message.payload:
        print(machine, "removed", flush=True)
        return
    try:
        found = json.loads(message.payload)
        line = f"{machine} {found['presence']}"
        if not found.get("verified", True):
            line += " unverified"
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    print(line, flush=True)


def main() -> None:
    """Connect, and stay connected."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=NAME)  # the client id is the user name
    client.username_pw_set(NAME, os.environ["DASHFLEET_PASSWORD"])
    if SERVER.scheme == "mqtts":
        client.tls_set(os.environ.get("DASHFLEET_CA_FILE"))
    client.on_connect, client.on_message = on_connect, on_message
    client.reconnect_delay_set(min_delay=1, max_delay=60)
    client.connect_async(SERVER.hostname or "127.0.0.1", SERVER.port or (8883 if SERVER.scheme == "mqtts" else 1883))
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    main()
