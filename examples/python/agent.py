"""Send samples of a machine, and run the orders of its operators, with paho-mqtt 2 and PyNaCl.

Beside the variables of consumer.py, DASHFLEET_MACHINE is the machine, DASHFLEET_KEYS the file of the keys that it
trusts, as `dashfleet key list --org ORG --json` prints them, and DASHFLEET_STATE the file in which it remembers its
session and its orders. `dashfleet principal add attic --role machine` creates the credential.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from paho.mqtt.enums import CallbackAPIVersion

SERVER = urlsplit(os.environ["DASHFLEET_SERVER"])
NAME, ORG, MACHINE = (os.environ[f"DASHFLEET_{name}"] for name in ("USERNAME", "ORG", "MACHINE"))
STATE = Path(os.environ["DASHFLEET_STATE"])
INTERVAL_SECONDS = float(os.environ.get("DASHFLEET_INTERVAL_SECONDS", "10"))
RESEND_SECONDS = float(os.environ.get("DASHFLEET_RESEND_SECONDS", "30"))
MINE = f"dashfleet/v1/{ORG}/{MACHINE}"
CONFIG = f"dashfleet/v1/{ORG}/_config"
OUTBOX_MAX, BATCH_MAX = 100_000, 500
GOODBYE_SECONDS = 0.5
FUTURE_MILLISECONDS = 5 * 60_000
PING = {
    "name": "ping",
    "title": "Ping",
    "arguments_schema": {"type": "object", "properties": {}, "additionalProperties": False},
}


class Rejected(Exception):  # noqa: N818 - an answer, not an error
    """An order is not run, for this reason."""


def now() -> int:
    """Return the milliseconds since 1970."""
    return int(time.time() * 1000)


def vitals() -> dict[str, float | None]:
    """Return what is cheap to read on Linux."""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(memory[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    uptime = int(float(Path("/proc/uptime").read_text().split()[0]))
    return {"memory_percent": 100 * (1 - free / total), "load_1m": os.getloadavg()[0], "uptime_seconds": uptime}


class Keys:
    """The keys whose orders are run: those at the start, and those that a trusted key has added since."""

    def __init__(self) -> None:
        known = json.loads(Path(os.environ["DASHFLEET_KEYS"]).read_text())
        self.trusted = {key_id(each["public_key"]): (each["public_key"], each.get("expires_at")) for each in known}
        self.revoked: set[str] = set()

    def open(self, signed: dict[str, Any]) -> dict[str, Any]:
        """Return a statement that a trusted key has signed. Raises Rejected."""
        public, expires_at = self.trusted.get(signed["key"], ("", None))
        if not public or (expires_at is not None and now() >= expires_at):
            raise Rejected("signature")
        try:
            VerifyKey(bytes.fromhex(public)).verify(signed["statement"].encode(), bytes.fromhex(signed["signature"]))
        except (BadSignatureError, ValueError):
            raise Rejected("signature") from None
        found: dict[str, Any] = json.loads(signed["statement"])
        return found

    def follow(self, changes: list[dict[str, Any]]) -> None:
        """Add and revoke keys, in the order of the changes."""
        for signed in changes:
            try:
                change = self.open(signed)
            except Rejected:
                continue
            if change["kind"] != "key-change" or change["org"] != ORG:
                continue
            id_ = key_id(change["public_key"])
            if change["change"] == "revoke":
                self.revoked.add(id_)
                self.trusted.pop(id_, None)
            elif id_ not in self.revoked:
                self.trusted[id_] = (change["public_key"], change.get("expires_at"))


def key_id(public: str) -> str:
    """Return the id of a key."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]


class Outbox:
    """Samples that are not acknowledged, by number. The newest is sent at once, older ones in batches."""

    def __init__(self) -> None:
        self.stream = secrets.token_hex(8)
        self.samples: dict[int, dict[str, Any]] = {}
        self.dropped = self.last = 0
        self.sent_at: dict[int, float] = {}
        self.batch: list[int] = []
        """The numbers of the batch that waits for its acknowledgement: there is one at a time."""

    def head(self, session: int) -> dict[str, Any]:
        """Return the fields that Telemetry and Backfill share."""
        oldest = {"oldest_seq": min(self.samples), "dropped": self.dropped}
        return {"v": 1, "session": session, "stream": self.stream, **oldest}

    def add(self) -> int:
        """Take a sample; return its number."""
        self.last += 1
        self.samples[self.last] = {"sampled_at": now(), "vitals": vitals()}
        if len(self.samples) > OUTBOX_MAX:
            self.forget([min(self.samples)])
            self.dropped += 1
        return self.last

    def forget(self, numbers: list[int]) -> None:
        """Delete samples."""
        for number in numbers:
            self.samples.pop(number, None)
            self.sent_at.pop(number, None)
        self.batch = [number for number in self.batch if number in self.samples]

    def next_batch(self) -> list[int]:
        """Return the numbers to send, if none are on their way."""
        if not self.batch:
            late = time.monotonic() - RESEND_SECONDS
            self.batch = [each for each in self.samples if self.sent_at.get(each, late) <= late][:BATCH_MAX]
            return self.batch
        return []


class Agent:
    """The program. Everything happens in one thread: paho works only while `loop` is called."""

    def __init__(self) -> None:
        self.saved: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() else {"session": 0, "orders": {}}
        self.keys, self.outbox = Keys(), Outbox()
        self.results: dict[str, dict[str, Any]] = {}
        """Final results that no Ack has named."""
        self.client: mqtt.Client | None = None
        self.is_connected = self.ends = False
        self.failures = 0
        self.connect_at = self.sample_at = self.repeat_at = 0.0

    def save(self) -> None:
        """Write the state so that a power cut leaves the old or the new one."""
        new = STATE.with_suffix(".new")
        with new.open("w") as file:
            json.dump(self.saved, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(STATE)

    def run(self) -> None:
        """Work until SIGTERM, then say goodbye."""
        signal.signal(signal.SIGTERM, self.end)
        while not self.ends:
            self.step()
        if self.client is not None and self.is_connected:
            self.send("up/status", self.status("offline", "stopped"), retain=True)
            deadline = time.monotonic() + GOODBYE_SECONDS
            while time.monotonic() < deadline and self.client.loop(0.05) == mqtt.MQTT_ERR_SUCCESS:
                pass  # until it is sent: disconnect() alone may overtake it
            self.client.disconnect()

    def end(self, *_: object) -> None:
        """End with this step: the handler of SIGTERM."""
        self.ends = True

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
            self.send_live(self.outbox.add())
        if self.is_connected and (numbers := self.outbox.next_batch()):
            self.send_batch(numbers)
        if self.is_connected and time.monotonic() >= self.repeat_at:
            self.repeat_results()

    # The connection.

    def connect(self) -> None:
        """Connect with a new session, which is stored first, and its will."""
        self.saved["session"] = max(self.saved["session"] + 1, now())
        self.save()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=NAME)
        client.username_pw_set(NAME, os.environ["DASHFLEET_PASSWORD"])
        if SERVER.scheme == "mqtts":
            client.tls_set(os.environ.get("DASHFLEET_CA_FILE"))
        client.will_set(f"{MINE}/up/status", json.dumps(self.status("offline", "lost")), qos=1, retain=True)
        client.on_connect, client.on_message = self.on_connect, self.on_message
        self.client = client
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
        self.is_connected, self.failures = True, 0
        self.outbox.batch, self.repeat_at = [], 0.0
        client.subscribe([(f"{MINE}/down/command", 1), (f"{MINE}/down/ack", 0), (f"{MINE}/up/status", 1), (CONFIG, 1)])
        info = {
            "v": 1,
            "session": self.saved["session"],
            "stream": self.outbox.stream,
            "at": now(),
            "hostname": socket.gethostname(),
            "agent_version": "example 1",
            "interval_seconds": INTERVAL_SECONDS,
            "metrics": [{"name": "memory_percent", "unit": "percent", "title": "Memory"}],
            "actions": [PING],
            "keys": sorted(self.keys.trusted),
        }
        self.send("up/info", info, retain=True)
        self.send("up/status", self.status("online"), retain=True)

    def status(self, state: str, reason: str | None = None) -> dict[str, Any]:
        """Return a Status of this session."""
        known = {"v": 1, "state": state, "session": self.saved["session"], "at": now()}
        return {**known, "interval_seconds": INTERVAL_SECONDS, **({"reason": reason} if reason else {})}

    def send(self, leaf: str, content: dict[str, Any], *, retain: bool = False) -> None:
        """Publish with QoS 1; without a connection nothing is sent."""
        if self.client is not None and self.is_connected:
            self.client.publish(f"{MINE}/{leaf}", json.dumps(content), qos=1, retain=retain)

    def on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        """Handle a message; one that cannot be read must not end the program."""
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            f"{MINE}/down/command": self.on_command,
            f"{MINE}/down/ack": self.on_ack,
            f"{MINE}/up/status": self.on_own_status,
            CONFIG: lambda found: self.keys.follow(found.get("key_changes", [])),
        }
        try:
            handlers[message.topic](json.loads(message.payload))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"{message.topic}: {error!r}", flush=True)

    def on_own_status(self, status: dict[str, Any]) -> None:
        """Publish the birth again if the broker has published the will of an earlier connection since."""
        if status["state"] == "offline" and not self.ends:
            self.send("up/status", self.status("online"), retain=True)

    # Samples.

    def send_live(self, number: int) -> None:
        """Publish a new sample."""
        if self.is_connected:
            self.outbox.sent_at[number] = time.monotonic()
            head = {**self.outbox.head(self.saved["session"]), "seq": number}
            self.send("up/telemetry", {**head, **self.outbox.samples[number]})

    def send_batch(self, numbers: list[int]) -> None:
        """Publish samples that were not acknowledged, in columns."""
        samples = [self.outbox.samples[number] for number in numbers]
        columns = {name: [sample["vitals"][name] for sample in samples] for name in samples[0]["vitals"]}
        times = [sample["sampled_at"] for sample in samples]
        head = self.outbox.head(self.saved["session"])
        self.send("up/backfill", {**head, "seq": numbers, "sampled_at": times, "vitals": columns})

    def on_ack(self, ack: dict[str, Any]) -> None:
        """Delete what is stored, and what never will be."""
        for part in (ack, *ack.get("rejected", [])):
            if part.get("stream") == self.outbox.stream:
                for each in part.get("ranges", []):
                    first, last = each["first"], each["last"]
                    self.outbox.forget([number for number in self.outbox.samples if first <= number <= last])
        for id_ in ack.get("results", []):
            self.results.pop(id_, None)

    # Orders.

    def on_command(self, command: dict[str, Any]) -> None:
        """Check an order, write it to the journal, run it, and report."""
        signed = command["order"]
        id_ = json.loads(signed["statement"])["id"]
        try:
            order = self.keys.open(signed)
            self.check_target(order)
            if (known := self.saved["orders"].get(id_)) is not None:
                self.report({**known, "session": self.saved["session"]})  # it is never run again
                return
            self.check(order)
        except Rejected as rejected:
            self.report(self.result(id_, "rejected", reason=str(rejected)))
            return
        # If this program ends here, the order has failed: the journal says so before it runs.
        self.saved["orders"][id_] = self.result(id_, "failed", reason="interrupted", action="ping")
        self.save()
        self.send("up/result", self.result(id_, "running", action="ping"))
        self.saved["orders"][id_] = self.result(id_, "succeeded", action="ping", output="pong")
        self.save()
        self.report(self.saved["orders"][id_])

    def check_target(self, order: dict[str, Any]) -> None:
        """Raise Rejected if this is no order for this machine."""
        if order["kind"] != "order":
            raise Rejected("signature")
        if (order["org"], order["machine"]) != (ORG, MACHINE):
            raise Rejected("target")

    def check(self, order: dict[str, Any]) -> None:
        """Raise Rejected if the order must not be run."""
        if order["issued_at"] > now() + FUTURE_MILLISECONDS:
            raise Rejected("future")
        if order["expires_at"] <= now():
            raise Rejected("expired")
        if order["action"] != PING["name"]:
            raise Rejected("not-allowed")
        if order.get("arguments", {}):
            raise Rejected("arguments")

    def result(self, id_: str, state: str, **more: Any) -> dict[str, Any]:
        """Return a Result of this session."""
        return {"v": 1, "session": self.saved["session"], "id": id_, "state": state, "at": now(), **more}

    def report(self, result: dict[str, Any]) -> None:
        """Publish a final result, now and until an Ack names it."""
        self.results[result["id"]] = result
        self.send("up/result", result)

    def repeat_results(self) -> None:
        """Publish the final results that no Ack has named."""
        self.repeat_at = time.monotonic() + RESEND_SECONDS
        for result in self.results.values():
            self.send("up/result", {**result, "session": self.saved["session"]})


if __name__ == "__main__":
    Agent().run()
