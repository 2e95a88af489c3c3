"""Send samples of a machine, and run the orders of its operators, with paho-mqtt 2 and PyNaCl.

Beside the variables of consumer.py, DASHFLEET_MACHINE is the machine, DASHFLEET_KEYS the file of the keys that it
trusts, as `dashfleet key list --org ORG --json` prints them, and DASHFLEET_STATE the file in which it remembers its
session and its orders: an empty one at first, because a missing one means that a journal was lost.
`dashfleet principal add attic --role machine` creates the credential.

Samples wait in memory: what is not acknowledged when this program ends is lost, and it begins a new stream. An agent
that must not lose them stores them, as DashFleet's own does.
"""

import hashlib
import json
import os
import random
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from paho.mqtt.enums import CallbackAPIVersion

Json = dict[str, Any]

SERVER = urlsplit(os.environ["DASHFLEET_SERVER"])
NAME, ORG, MACHINE = (os.environ[f"DASHFLEET_{name}"] for name in ("USERNAME", "ORG", "MACHINE"))
STATE, KEYS = Path(os.environ["DASHFLEET_STATE"]), Path(os.environ["DASHFLEET_KEYS"])
INTERVAL_SECONDS = float(os.environ.get("DASHFLEET_INTERVAL_SECONDS", "10"))
RESEND_SECONDS = float(os.environ.get("DASHFLEET_RESEND_SECONDS", "30"))
MINE, CONFIG = f"dashfleet/v1/{ORG}/{MACHINE}", f"dashfleet/v1/{ORG}/_config"
OUTBOX_MAX, BATCH_MAX = 100_000, 500
FUTURE_MILLISECONDS = 5 * 60_000
NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


def now() -> int:
    """Return the milliseconds since 1970."""
    return int(time.time() * 1000)


def key_id(public: str) -> str:
    """Return the id of a key."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]


def read_state() -> Json:
    """Return what outlives this program. Without a journal, orders from before may have run: see `refusal`."""
    lost = 0 if STATE.exists() else now() + FUTURE_MILLISECONDS
    text = STATE.read_text() if STATE.exists() else ""
    found: Json = json.loads(text) if text else {"session": 0, "orders": {}, "lost": lost}
    return found


class Agent:
    """The program. Everything happens in one thread: paho works only while `loop` is called."""

    def __init__(self) -> None:
        self.saved = read_state()
        self.trusted: dict[str, Json] = {key_id(each["public_key"]): each for each in json.loads(KEYS.read_text())}
        self.revoked: set[str] = set()
        self.stream, self.last, self.dropped = secrets.token_hex(8), 0, 0
        self.samples: dict[int, Json] = {}  # those that are not acknowledged, by number
        self.sent_at: dict[int, float] = {}
        self.batch: list[int] = []  # the numbers of the Backfill that waits for its acknowledgement: one at a time
        self.results: dict[str, Json] = {}  # final results that no Ack has named
        self.client: mqtt.Client | None = None
        self.is_connected = self.ends = False
        self.failures, self.connect_at, self.sample_at, self.repeat_at = 0, 0.0, 0.0, 0.0

    def save(self) -> None:
        """Write the state so that a power cut leaves the old or the new one."""
        new = STATE.with_suffix(".new")
        with new.open("w") as file:
            json.dump(self.saved, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(STATE)

    def step(self) -> None:
        """Do the network's work, and what is due."""
        if self.client is None and time.monotonic() >= self.connect_at:
            self.connect()
        if self.client is None:
            time.sleep(0.05)
        elif self.client.loop(0.05) != mqtt.MQTT_ERR_SUCCESS:
            self.lose()
        if time.monotonic() >= self.sample_at:
            self.sample_at = time.monotonic() + INTERVAL_SECONDS
            self.sample()
        if self.is_connected:
            self.backfill()
            if time.monotonic() >= self.repeat_at:
                self.repeat_at = time.monotonic() + RESEND_SECONDS
                for result in self.results.values():
                    self.send("up/result", {**result, "session": self.saved["session"]})

    # The connection. Each has a higher session than all before it, stored first, and its own will.

    def connect(self) -> None:
        """Connect with a new client, as the old one would send its messages again in a new session."""
        self.saved["session"] = max(self.saved["session"] + 1, now())
        self.save()
        self.client = client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=NAME)
        client.username_pw_set(NAME, os.environ["DASHFLEET_PASSWORD"])
        if SERVER.scheme == "mqtts":
            client.tls_set(os.environ.get("DASHFLEET_CA_FILE"))
        client.will_set(f"{MINE}/up/status", json.dumps(self.status("offline", "lost")), qos=1, retain=True)
        client.on_connect, client.on_message = self.on_connect, self.on_message
        try:
            client.connect(SERVER.hostname or "127.0.0.1", SERVER.port or 1883, keepalive=30)
        except OSError:
            self.lose()

    def lose(self) -> None:
        """Wait for a random time before the next connect: after an outage all machines come back at once."""
        self.client, self.is_connected = None, False
        self.failures += 1
        self.connect_at = time.monotonic() + random.uniform(0.1, min(60, 2**self.failures))

    def on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        """Subscribe, then publish Info and the birth."""
        if reason.is_failure:
            return
        self.is_connected, self.failures, self.batch, self.repeat_at = True, 0, [], 0.0
        client.subscribe([(f"{MINE}/down/command", 1), (f"{MINE}/down/ack", 0), (f"{MINE}/up/status", 1), (CONFIG, 1)])
        info = {
            "stream": self.stream,
            "at": now(),
            "hostname": socket.gethostname(),
            "agent_version": "example 1",
            "interval_seconds": INTERVAL_SECONDS,
            "metrics": [{"name": "memory_percent", "unit": "percent", "title": "Memory"}],
            "actions": [{"name": "ping", "title": "Ping", "arguments_schema": NO_ARGUMENTS}],
            "keys": sorted(self.trusted),
        }
        self.send("up/info", {"v": 1, "session": self.saved["session"], **info}, retain=True)
        self.send("up/status", self.status("online"), retain=True)

    def status(self, state: str, reason: str | None = None) -> Json:
        """Return a Status of this session."""
        known = {"v": 1, "state": state, "session": self.saved["session"], "at": now()}
        return {**known, "interval_seconds": INTERVAL_SECONDS, **({"reason": reason} if reason else {})}

    def send(self, leaf: str, content: Json, *, retain: bool = False) -> None:
        """Publish with QoS 1; without a connection nothing is sent."""
        if self.client is not None and self.is_connected:
            self.client.publish(f"{MINE}/{leaf}", json.dumps(content), qos=1, retain=retain)

    def on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        """Handle a message; one that cannot be read must not end the program."""
        own = {"command": self.on_command, "ack": self.on_ack, "status": self.on_own_status, "_config": self.on_config}
        try:
            own[message.topic.rpartition("/")[2]](json.loads(message.payload))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"{message.topic}: {error!r}", flush=True)

    def on_own_status(self, status: Json) -> None:
        """Publish the birth again if the broker has published the will of an earlier connection since."""
        if status["state"] == "offline" and not self.ends:
            self.send("up/status", self.status("online"), retain=True)

    def say_goodbye(self) -> None:
        """Say that the machine goes offline on purpose."""
        if self.client is not None and self.is_connected:
            self.send("up/status", self.status("offline", "stopped"), retain=True)
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline and self.client.loop(0.05) == mqtt.MQTT_ERR_SUCCESS:
                pass  # until it is sent: disconnect() alone may overtake it
            self.client.disconnect()

    # Samples. The newest is sent at once; what is not acknowledged is sent again in batches.

    def head(self) -> Json:
        """Return the fields that Telemetry and Backfill share."""
        head = {"v": 1, "session": self.saved["session"], "stream": self.stream}
        return {**head, "oldest_seq": min(self.samples), "dropped": self.dropped}

    def sample(self) -> None:
        """Take a sample, and send it if there is a connection."""
        memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(memory[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        self.last += 1
        vitals = {"memory_percent": 100 * (1 - free / total), "load_1m": os.getloadavg()[0]}
        self.samples[self.last] = {"sampled_at": now(), "vitals": vitals}
        if len(self.samples) > OUTBOX_MAX:
            self.forget(min(self.samples))
            self.dropped += 1
        if self.is_connected:
            self.sent_at[self.last] = time.monotonic()
            self.send("up/telemetry", {**self.head(), "seq": self.last, **self.samples[self.last]})

    def backfill(self) -> None:
        """Send what was not acknowledged in time, in columns."""
        if any(number in self.samples for number in self.batch):
            return
        late = time.monotonic() - RESEND_SECONDS
        self.batch = [each for each in self.samples if self.sent_at.get(each, late) <= late][:BATCH_MAX]
        if samples := [self.samples[number] for number in self.batch]:
            vitals = {name: [sample["vitals"][name] for sample in samples] for name in samples[0]["vitals"]}
            times = [sample["sampled_at"] for sample in samples]
            self.send("up/backfill", {**self.head(), "seq": self.batch, "sampled_at": times, "vitals": vitals})

    def forget(self, number: int) -> None:
        """Delete a sample."""
        self.samples.pop(number, None)
        self.sent_at.pop(number, None)

    def on_ack(self, ack: Json) -> None:
        """Delete what is stored, and what never will be."""
        for part in (ack, *ack.get("rejected", [])):
            for each in part.get("ranges", []) if part.get("stream") == self.stream else ():
                for number in [number for number in self.samples if each["first"] <= number <= each["last"]]:
                    self.forget(number)
        for id_ in ack.get("results", []):
            self.results.pop(id_, None)

    # Keys and orders. Nothing runs before it is in the journal, so nothing runs twice.

    def open(self, signed: Json, kind: str) -> Json | None:
        """Return a statement of a kind that a trusted key has signed."""
        key = self.trusted.get(signed["key"])
        if key is None or now() >= (key.get("expires_at") or float("inf")):
            return None
        try:
            public, signature = bytes.fromhex(key["public_key"]), bytes.fromhex(signed["signature"])
            VerifyKey(public).verify(signed["statement"].encode(), signature)
        except (BadSignatureError, ValueError):
            return None
        found: Json = json.loads(signed["statement"])
        return found if found["kind"] == kind else None

    def on_config(self, config: Json) -> None:
        """Add and revoke keys, in the order of the changes."""
        for change in (self.open(signed, "key-change") for signed in config.get("key_changes", [])):
            if change is None or change["org"] != ORG:
                continue
            id_ = key_id(change["public_key"])
            if change["change"] == "revoke":
                self.revoked.add(id_)
                self.trusted.pop(id_, None)
            elif id_ not in self.revoked:
                self.trusted[id_] = change

    def on_command(self, command: Json) -> None:
        """Check an order, write it to the journal, run it, and report."""
        signed, journal = command["order"], self.saved["orders"]
        id_, order = json.loads(signed["statement"])["id"], self.open(signed, "order")
        if order is None:
            self.report(self.result(id_, "rejected", reason="signature"))
        elif (order["org"], order["machine"]) != (ORG, MACHINE):
            self.report(self.result(id_, "rejected", reason="target"))
        elif id_ in journal:
            self.report({**journal[id_], "session": self.saved["session"]})
        elif reason := self.refusal(order):
            self.report(self.result(id_, "rejected", reason=reason))
        else:
            # If this program ends here, the order has failed: the journal says so before it runs.
            journal[id_] = self.result(id_, "failed", reason="interrupted", action="ping")
            self.save()
            self.send("up/result", self.result(id_, "running", action="ping"))
            journal[id_] = self.result(id_, "succeeded", action="ping", output="pong")
            self.save()
            self.report(journal[id_])

    def refusal(self, order: Json) -> str:
        """Return why an order must not be run. A journal that was lost may have known one from before."""
        reasons = {
            "journal": order["issued_at"] < self.saved["lost"],
            "future": order["issued_at"] > now() + FUTURE_MILLISECONDS,
            "expired": order["expires_at"] <= now(),
            "not-allowed": order["action"] != "ping",
            "arguments": bool(order.get("arguments")),
        }
        return next((reason for reason, applies in reasons.items() if applies), "")

    def result(self, id_: str, state: str, **more: Any) -> Json:
        """Return a Result of this session."""
        return {"v": 1, "session": self.saved["session"], "id": id_, "state": state, "at": now(), **more}

    def report(self, result: Json) -> None:
        """Publish a final result, now and until an Ack names it."""
        self.results[result["id"]] = result
        self.send("up/result", result)


if __name__ == "__main__":
    agent = Agent()
    signal.signal(signal.SIGTERM, lambda *_: setattr(agent, "ends", True))
    while not agent.ends:
        agent.step()
    agent.say_goodbye()
