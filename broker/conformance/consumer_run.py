"""A run that checks a consumer, a program that shows the Presence of machines. The run is its broker.

The program prints a line for each message on `_presence`, with the machine and the presence as words, the word
`unverified` if it is not verified, and `MACHINE removed` when it is cleared. It may print anything else.
"""

import json
from collections.abc import Mapping
from typing import Any

from broker.client.transport import Message
from broker.conformance import assertions as df
from broker.conformance.packets import REFUSED_FILTER
from broker.conformance.program import ProgramWatch, judge_identity, shortest_wait
from broker.conformance.program_broker import ClientConnected, ClientPublished, ClientSubscribed
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.org_config import OrgConfig
from schemas.contract.presence import PresenceMessage

WAIT_MIN_SECONDS = 0.1
INVALID = (b"not json", b"\xff\xfe", b'{"v": 1, "presence": "online", "since": NaN, "display_name": "x"}', b"[]", b"{}")


class ConsumerRun:
    """A run. `patience_seconds`: the longest time to wait for a line, and for a new connection."""

    def __init__(self, watch: ProgramWatch, clock: Clock, *, patience_seconds: float) -> None:
        self._watch = watch
        self._broker = watch.broker
        self._org = watch.broker.principal.org
        self.report = ConformanceReport("consumer", watch.broker.principal.username)
        self._clock = clock
        self._patience = patience_seconds

    def run(self) -> ConformanceReport:
        """Check everything; return the verdicts."""
        self._broker.send(_retained(topics.ORG_CONFIG.at(org=self._org), OrgConfig().encode()))
        self._present("probe-a", presence="online", reason="connected")
        self._present("probe-b", presence="offline", reason="lost", last_seen=1, health="unknown")
        self._present("probe-c", required_only=True, presence="stale")
        self._present("probe-d", presence="online", verified=False)
        self._watch.program.start()
        if self._connect() and self._read_retained():
            self._read_changes()
            self._reconnect()
        self._judge_log()
        return self.report

    def _connect(self) -> bool:
        watch = self._watch
        watch.wait_for(lambda: watch.events(ClientConnected), self._patience)
        if not watch.events(ClientConnected):
            self.report.fail(df.CONSUMER_IDENTITY, f"no CONNECT within {self._patience:g} s")
            return False
        return watch.wait_for(watch.connects, self._patience)

    def _read_retained(self) -> bool:
        """Wait for the retained messages; return False if it shows none."""
        if not self._expect(df.CONSUMER_RETAINED, "probe-a", "online"):
            return False
        self._expect(df.CONSUMER_RETAINED, "probe-b", "offline")
        self._expect(df.CONSUMER_DEFAULTS, "probe-c", "stale")
        self._expect(df.CONSUMER_UNVERIFIED, "probe-d", "online", "unverified")
        is_told = not self._watch.shows("probe-a", "unverified")
        self.report.check(df.CONSUMER_UNVERIFIED, is_told, "it shows probe-a as unverified, which is verified")
        return True

    def _read_changes(self) -> None:
        """Change a presence, send unknown fields and invalid messages, and remove a machine."""
        self._present("probe-a", presence="stale", reason="silent")
        if not self._expect(df.CONSUMER_CHANGES, "probe-a", "stale"):
            return
        self._present("probe-b", presence="expired", unknown_field={"of": [1, None]})
        self._expect(df.CONSUMER_UNKNOWN_FIELDS, "probe-b", "expired")
        self._broker.send(_retained(self._topic("probe-d"), b""))
        self._expect(df.CONSUMER_REMOVED, "probe-d", "removed")
        for payload in INVALID:
            self._broker.send(Message(self._topic("probe-e"), payload, topics.PRESENCE.qos))
        self._present("probe-b", presence="retired", reason="revoked")
        if self._expect(df.CONSUMER_INVALID, "probe-b", "retired"):
            self._present("probe-b", times=2, presence="offline", reason="lost")
            self._present("probe-a", presence="offline", reason="lost")
            self._expect(df.CONSUMER_TWICE, "probe-a", "offline")
        drained = self._watch.wait_for(lambda: self._broker.unacknowledged <= 0, self._patience)
        self.report.check(df.CONSUMER_ACKNOWLEDGES, drained, f"{self._broker.unacknowledged} without a PUBACK")

    def _reconnect(self) -> None:
        """Break the connection, refuse the next one, and change a presence meanwhile."""
        watch, broker, start = self._watch, self._broker, len(self._broker.log)
        broker.refuses = True
        broker.cut()
        watch.wait_for(lambda: watch.events(ClientConnected, start), self._patience)
        broker.refuses = False
        self._present("probe-c", presence="expired")
        back = watch.wait_for(lambda: watch.connects(start), self._patience)
        self.report.check(df.CONSUMER_RECONNECTS, back, f"no connection within {self._patience:g} s")
        if back:
            self._expect(df.CONSUMER_RESUBSCRIBES, "probe-c", "expired")
        waited = shortest_wait(broker)
        if waited is not None:
            self.report.check(df.CONSUMER_WAITS, waited >= WAIT_MIN_SECONDS, f"CONNECT after {waited:.3f} s")

    def _judge_log(self) -> None:
        report, watch = self.report, self._watch
        judge_identity(report, self._broker, df.CONSUMER_IDENTITY, df.CONSUMER_CLEAN)
        for event in watch.connects():
            report.check(df.CONSUMER_KEEP_ALIVE, event.connect.keep_alive > 0, "a keep-alive of 0")
            will = event.connect.will
            report.check(df.CONSUMER_SILENT, will is None, f"a will on {will and will.topic}")
        for subscribed in watch.events(ClientSubscribed):
            for (filter_, _), code in zip(subscribed.filters, subscribed.codes, strict=True):
                report.check(df.CONSUMER_GRANTED, code != REFUSED_FILTER, f"it subscribes to {filter_}")
        for published in watch.events(ClientPublished):
            report.fail(df.CONSUMER_SILENT, f"it publishes to {published.message.topic}")

    def _expect(self, assertion: df.Assertion, *words: str) -> bool:
        shown = self._watch.wait_for(lambda: self._watch.shows(*words), self._patience)
        self.report.check(assertion, shown, f"no line with {' and '.join(words)} within {self._patience:g} s")
        return shown

    def _present(
        self,
        machine: str,
        *,
        times: int = 1,
        required_only: bool = False,
        **fields: Any,  # noqa: ANN401 - fields of a message
    ) -> None:
        now = self._clock.now()
        known: Mapping[str, Any] = {"since": now, "display_name": f"{machine}.example.org", **fields}
        if required_only:
            payload = json.dumps(known).encode()
        else:
            own = {name: value for name, value in known.items() if name in PresenceMessage.model_fields}
            encoded = json.loads(PresenceMessage.model_validate(own).encode())
            payload = json.dumps({**encoded, **known}).encode()
        for _ in range(times):
            self._broker.send(_retained(self._topic(machine), payload))

    def _topic(self, machine: str) -> str:
        return topics.PRESENCE.at(org=self._org, machine=machine)


def _retained(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, 1, retain=True)
