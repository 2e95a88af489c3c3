"""Run an action on one machine and wait for its outcome, with paho-mqtt 2 and PyNaCl.

Beside the variables of consumer.py, DASHFLEET_MACHINE and DASHFLEET_ACTION say what to run, and DASHFLEET_KEY names the
file of the private key, 64 hex digits. `dashfleet principal add robot --role operator` creates the credential. The exit
status is 0 if the machine has succeeded.
"""

import hashlib
import json
import os
import queue
import secrets
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from nacl.signing import SigningKey
from paho.mqtt.enums import CallbackAPIVersion

SERVER = urlsplit(os.environ["DASHFLEET_SERVER"])
NAME, ORG = os.environ["DASHFLEET_USERNAME"], os.environ["DASHFLEET_ORG"]
MINE = f"dashfleet/v1/{ORG}/_actions/{NAME.partition('._')[2]}"
REPEAT_SECONDS, LIFETIME = 5.0, 10 * 60_000
OUTCOMES = ("succeeded", "failed", "rejected", "expired", "cancelled")  # timed-out is not final


def new_request() -> dict[str, Any]:
    """Return a Request with one signed order. Its ids are random, and stay the same when it is repeated."""
    now, key = int(time.time() * 1000), SigningKey(bytes.fromhex(Path(os.environ["DASHFLEET_KEY"]).read_text().strip()))
    order = {
        "kind": "order",
        "id": secrets.token_hex(16),
        "org": ORG,
        "machine": os.environ["DASHFLEET_MACHINE"],
        "action": os.environ["DASHFLEET_ACTION"],
        "arguments": {},
        "issued_at": now,
        "expires_at": now + LIFETIME,
    }
    statement = json.dumps(order)  # signed exactly as it is sent
    signed = {
        "statement": statement,
        "key": hashlib.sha256(bytes(key.verify_key)).hexdigest()[:16],
        "signature": key.sign(statement.encode()).signature.hex(),
    }
    change = {"kind": "act", "batch": secrets.token_hex(16), "orders": [signed]}
    return {"v": 1, "id": secrets.token_hex(16), "change": change}


class Actor:
    """Publishes a Request until it is answered, and again after each connect: Updates may have been missed."""

    def __init__(self) -> None:
        self.request = new_request()
        self.events: queue.Queue[str] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=NAME)
        self.client.username_pw_set(NAME, os.environ["DASHFLEET_PASSWORD"])
        if SERVER.scheme == "mqtts":
            self.client.tls_set(os.environ.get("DASHFLEET_CA_FILE"))
        self.client.on_connect, self.client.on_message = self.on_connect, self.on_message
        self.client.on_subscribe = lambda *_: self.events.put("subscribed")

    def on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        """Subscribe first, so that no answer is missed."""
        if not reason.is_failure:
            client.subscribe(f"{MINE}/update", qos=1)

    def on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        """Read an Update; skip what cannot be read, and what is about other requests."""
        try:
            update = json.loads(message.payload)
            is_mine, state = update["request"] == self.request["id"], str(update["state"])
            of_command = update.get("command") is not None
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if is_mine:
            print(state, update.get("detail", ""), flush=True)
            has_ended = state == "refused" or (of_command and state in OUTCOMES)
            self.events.put(f"ended {state}" if has_ended else "answered")

    def run(self) -> int:
        """Return the exit status."""
        host, port = SERVER.hostname or "127.0.0.1", SERVER.port or (8883 if SERVER.scheme == "mqtts" else 1883)
        self.client.connect_async(host, port)
        self.client.loop_start()
        asks, event = False, ""
        while not event.startswith("ended"):
            try:
                event = self.events.get(timeout=REPEAT_SECONDS)
                asks = event == "subscribed"
            except queue.Empty:
                event = ""
            if asks and self.client.is_connected():
                self.client.publish(f"{MINE}/request", json.dumps(self.request), qos=1)
        self.client.disconnect()
        self.client.loop_stop()
        return int(event != "ended succeeded")


if __name__ == "__main__":
    sys.exit(Actor().run())
