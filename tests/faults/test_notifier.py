"""The notifier, killed again and again while alerts begin and end: each is told, and none twice but by a kill."""

import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from brokers import PASSWORD, RunningBroker, embedded_broker
from faults.processes import Process
from service_stubs import http_stub
from waiting import wait_until

from broker.access.policy import NOTIFIER
from broker.client.mqtt import Mqtt
from broker.client.transport import Message
from ingestor.run import PRINCIPAL
from runtime.urls import sqlite_url
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage, ResolvedMessage
from schemas.people.destinations import add_destination
from schemas.people.people_store import open_people_store
from schemas.people.routing import Preferences
from schemas.people.secret_box import SecretBox

WHOLE = os.environ.get("DASHFLEET_FAULTS") == "whole"
KILLS, ALERTS = (200, 1000) if WHOLE else (4, 80)
RUN = """
import json, sys
from notifier.run import run
from runtime.settings.notifier import NotifierSettings
run(NotifierSettings(**json.loads(sys.argv[1])))
"""


class Publisher:
    """An ingestor's alerts: open ones retained, ended ones beside them, all again when it starts anew."""

    def __init__(self, broker: RunningBroker) -> None:
        self._transport = Mqtt(broker.address, username=PRINCIPAL.username, password=PASSWORD)
        self._open: dict[int, AlertMessage] = {}
        self._ended: dict[int, ResolvedMessage] = {}
        self.begun = 0
        wait_until(lambda: self._transport.receive(10, 0.1) and self._transport.connected)

    def begin(self, count: int) -> None:
        for _ in range(count):
            id_, self.begun = self.begun, self.begun + 1
            fields = {"rule": "cpu", "title": "High CPU usage", "severity": "critical"}
            self._open[id_] = AlertMessage.model_validate({**fields, "id": id_, "since": _now()})
            self._publish(id_)
        assert self._transport.flush(20)

    def end(self, count: int) -> None:
        for id_ in list(self._open)[:count]:
            ended = ResolvedMessage.model_validate({**self._open.pop(id_).model_dump(), "until": _now()})
            self._ended[id_] = ended
            self._publish(id_)
        assert self._transport.flush(20)

    def start_anew(self) -> None:
        """Publish everything again, as an ingestor that was killed does."""
        for id_ in (*self._open, *self._ended):
            self._publish(id_)
        assert self._transport.flush(20)

    def close(self) -> None:
        self._transport.close()

    def _publish(self, id_: int) -> None:
        levels = {"org": "home", "machine": f"m{id_}", "rule": "cpu"}
        alert, ended = self._open.get(id_), self._ended.get(id_)
        self._send(topics.ALERT.at(**levels), b"" if alert is None else alert.encode())
        if ended is not None:
            self._send(topics.RESOLVED.at(**levels), ended.encode())

    def _send(self, topic: str, payload: bytes) -> None:
        message = Message(topic, payload, 1, retain=True)
        while not self._transport.publish(message):
            self._transport.receive(10, 0.05)


@pytest.mark.timeout(2400 if WHOLE else 300)
def test_no_kill_loses_an_alert_and_each_repeats_at_most_one_message(tmp_path: Path) -> None:
    chance = random.Random(16)  # noqa: S311 - moments of kills
    people = open_people_store(sqlite_url(tmp_path / "people.db"))
    box = SecretBox.load(tmp_path / "key")
    with embedded_broker({PRINCIPAL: PASSWORD, NOTIFIER: PASSWORD}) as broker, http_stub() as stub:
        preferences = Preferences(group_seconds=0.05)
        url = f"http://127.0.0.1:{stub.port}/hook"
        add_destination(people, box, "home", "hook", url, by="test", now=0, allow_private=True, preferences=preferences)
        settings = {
            "data": str(tmp_path),
            "server": f"mqtt://127.0.0.1:{broker.port}",
            "password": PASSWORD,
            "database": sqlite_url(tmp_path / "fleet.db"),
            "auth_database": sqlite_url(tmp_path / "people.db"),
            "key_file": str(tmp_path / "key"),
        }
        argv = [sys.executable, "-c", RUN, json.dumps(settings)]
        notifier = Process("notifier", argv, ready="ready", log=tmp_path / "notifier.log")
        publisher = Publisher(broker)
        for number in range(KILLS):
            notifier.start()
            publisher.begin(ALERTS // KILLS)
            publisher.end(chance.randrange(ALERTS // KILLS + 1))
            time.sleep(chance.uniform(0, 0.6))  # the moment of the kill
            notifier.kill()
            if number % 3 == 0:
                publisher.start_anew()
        notifier.start()

        def told() -> Counter[tuple[str, str]]:
            """What was told, each delivery counted once: a receiver recognises a repeated one."""
            once = {each.headers["dashfleet-delivery"]: each.json for each in list(stub.received)}
            return Counter((alert["kind"], alert["key"]) for body in once.values() for alert in body["alerts"])

        def all_told() -> bool:
            found = told()
            begun = {key for kind, key in found if kind in ("problem", "past")}
            over = {key for kind, key in found if kind in ("recovery", "past")}
            ended = {f"alert/{id_}" for id_ in publisher._ended}
            return len(begun) == publisher.begun and ended <= over

        wait_until(all_told, seconds=60)
        notifier.kill()
        publisher.close()
    people.dispose()
    found = told()
    assert publisher.begun == ALERTS // KILLS * KILLS
    assert set(found.values()) == {1}
    repeated = Counter(each.headers["dashfleet-delivery"] for each in stub.received)
    assert sum(count - 1 for count in repeated.values()) <= KILLS


def _now() -> int:
    return time.time_ns() // 1_000_000
