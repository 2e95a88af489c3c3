"""The yardstick of the ingestor: a paho client, driven by `loop_forever`, that throws away what it receives.

    python bare_subscriber.py PORT COUNT

Says `ready` when it is subscribed, and `received` after each COUNT messages.
"""

import sys

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from schemas.contract import topics


class Subscriber:
    """Counts, and does nothing else."""

    def __init__(self, port: int, count: int) -> None:
        self.count = self.left = count
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare")
        self.client.on_message = self.throw_away
        self.client.on_subscribe = lambda *_: print("ready", flush=True)
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(topics.TELEMETRY.filter(), qos=1)

    def throw_away(self, _client: paho.Client, _userdata: object, _message: paho.MQTTMessage) -> None:
        self.left -= 1
        if not self.left:
            self.left = self.count
            print("received", flush=True)


if __name__ == "__main__":
    Subscriber(int(sys.argv[1]), int(sys.argv[2])).client.loop_forever()
