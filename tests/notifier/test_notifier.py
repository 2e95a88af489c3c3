"""The notifier between a broker and real HTTP servers."""

import hashlib
import hmac
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from available_time import available_time
from notifying import NotifyingWorld, notifying_world, run_for, run_until
from service_stubs import HttpStub, http_stub
from sqlalchemy import text

from broker.client.transport import Message
from notifier import dispatch
from schemas.contract import topics
from schemas.people import deliveries
from schemas.people.destinations import set_routes, webhook_secret
from schemas.people.message_templates import set_template
from schemas.people.routing import Route


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NotifyingWorld]:
    with notifying_world(tmp_path) as made:
        yield made


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    with http_stub() as made:
        yield made


def told(stub: HttpStub, path: str = "/hook") -> Counter[tuple[str, str]]:
    """What a webhook was told: kind and key of each alert."""
    return Counter(
        (alert["kind"], alert["key"]) for each in stub.received if each.path == path for alert in each.json["alerts"]
    )


def test_begin_and_end_of_an_alert_arrive_at_a_webhook_with_a_signature_that_can_be_checked(
    world: NotifyingWorld, stub: HttpStub
) -> None:
    hook = world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    world.alerts.begin(7, hostname="attic.local", labels={"site": "nantes"}, value=97.5, unit="percent")
    run_until(notifier, lambda: len(stub.received) == 1)
    world.alerts.end(7)
    run_until(notifier, lambda: len(stub.received) == 2)
    notifier.stop()
    first, second = stub.received
    (alert,) = first.json["alerts"]
    assert first.json["version"] == 1
    assert first.json["org"] == "home"
    assert {name: alert[name] for name in ("kind", "machine", "rule", "severity", "hostname", "labels", "value")} == {
        "kind": "problem",
        "machine": "attic",
        "rule": "cpu",
        "severity": "critical",
        "hostname": "attic.local",
        "labels": {"site": "nantes"},
        "value": 97.5,
    }
    assert second.json["alerts"][0]["kind"] == "recovery"
    assert second.json["alerts"][0]["until"] is not None
    stamp, _, signature = first.headers["dashfleet-signature"].partition(",v1=")
    signed = stamp.removeprefix("t=").encode() + b"." + first.body
    secret = webhook_secret(world.box, hook)
    assert hmac.compare_digest(signature, hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest())
    assert first.headers["dashfleet-delivery"] == first.json["delivery"] != second.json["delivery"]
    log = deliveries.list_deliveries(world.people, "home")
    assert [(each.state, each.attempts, each.title) for each in log] == [
        ("sent", 1, "Resolved: attic: High CPU usage"),
        ("sent", 1, "Problem: attic: High CPU usage"),
    ]
    assert log[0].answer.startswith("200")


def test_five_hundred_retained_alerts_are_told_once_whatever_restarts(world: NotifyingWorld, stub: HttpStub) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    for number in range(500):
        world.alerts.begin(number, machine=f"m{number}", since=number)
    run_until(notifier, lambda: sum(told(stub).values()) == 500)
    before = len(stub.received)
    world.broker.stop()
    run_for(notifier, 5)
    world.broker.start()
    world.alerts._transport.receive(10, 0)
    world.alerts._transport.receive(10, 0)
    for number in range(500):  # as the ingestor does on every connection
        world.alerts.begin(number, machine=f"m{number}", since=number)
    run_for(notifier, 30)
    notifier.stop()
    again = world.notifier()
    run_for(again, 30)
    again.stop()
    assert len(stub.received) == before
    assert max(told(stub).values()) == 1


def test_a_destination_that_hangs_delays_no_other_by_a_second(world: NotifyingWorld, stub: HttpStub) -> None:
    with http_stub() as hanging:
        hanging.hang = threading.Event()
        world.add("hanging", f"http://127.0.0.1:{hanging.port}/hook")
        world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
        notifier = world.notifier()
        run_for(notifier, 3)
        world.alerts.begin(0)
        run_until(notifier, lambda: hanging.received)
        slowest = 0.0
        with available_time() as available:
            for number in range(1, 20):
                begin = available.seconds
                world.alerts.begin(number, machine=f"m{number}")
                run_until(notifier, lambda number=number: told(stub)["problem", f"alert/{number}"])
                slowest = max(slowest, available.seconds - begin)
        assert slowest < 1
        assert len(hanging.received) == 1
        hanging.hang.set()
        run_until(notifier, lambda: sum(told(hanging).values()) == 20)
        assert len(hanging.received) == 2  # what waited shares a message
        notifier.stop()


def test_a_service_that_fails_is_tried_again_and_the_same_delivery_can_be_recognised(
    world: NotifyingWorld, stub: HttpStub
) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    stub.answer = lambda _: (503, {}, b"busy") if len(stub.received) < 2 else (200, {}, b"ok")
    notifier = world.notifier()
    world.alerts.begin(1)
    run_until(notifier, lambda: len(stub.received) == 2)
    run_until(notifier, lambda: deliveries.list_deliveries(world.people, "home")[0].state == "sent")
    notifier.stop()
    first, second = stub.received
    assert first.headers["dashfleet-delivery"] == second.headers["dashfleet-delivery"]
    assert first.body == second.body
    (entry,) = deliveries.list_deliveries(world.people, "home")
    assert entry.attempts == 2


def test_a_service_that_rejects_for_good_ends_the_delivery_visibly(world: NotifyingWorld, stub: HttpStub) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/s3cr3t-path")
    stub.answer = lambda request: (410, {}, f"gone: {request.path}".encode())
    notifier = world.notifier()
    world.alerts.begin(1)
    run_until(notifier, lambda: [each.state for each in deliveries.list_deliveries(world.people, "home")] == ["failed"])
    notifier.stop()
    (entry,) = deliveries.list_deliveries(world.people, "home")
    assert "410" in entry.error
    assert "s3cr3t-path" not in entry.error + entry.answer
    assert "***" in entry.answer


def test_a_defect_while_a_message_is_made_is_a_failed_attempt_that_the_log_names(
    world: NotifyingWorld, stub: HttpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    with monkeypatch.context() as broken:
        broken.setattr(dispatch, "alert_message", full)
        notifier = world.notifier()
        world.alerts.begin(1)
        run_until(notifier, lambda: any(each.error for each in deliveries.list_deliveries(world.people, "home")))
        (entry,) = deliveries.list_deliveries(world.people, "home")
        assert (entry.state, entry.attempts) == ("queued", 1)
        assert "OSError" in entry.error
    run_until(notifier, lambda: deliveries.list_deliveries(world.people, "home")[0].state == "sent")
    notifier.stop()
    assert len(stub.received) == 1


def test_an_alert_whose_end_nobody_publishes_is_over_when_the_broker_has_not_shown_it_for_long(
    world: NotifyingWorld, stub: HttpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    world.alerts.begin(1)
    world.alerts.begin(2, machine="cellar")
    run_until(notifier, lambda: sum(told(stub).values()) == 2)
    notifier.stop()
    world.broker.retained.pop(topics.ALERT.at(org="home", machine="attic", rule="cpu"))
    monkeypatch.setattr("notifier.inbox.ABSENT_SECONDS", 0.3)
    again = world.notifier()
    run_until(again, lambda: told(stub)["recovery", "alert/1"])
    run_for(again, 20)
    again.stop()
    assert not told(stub)["recovery", "alert/2"]


def test_an_alert_that_began_and_ended_while_the_notifier_was_away_is_told_as_past(
    world: NotifyingWorld, stub: HttpStub
) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    world.alerts.begin(5)
    world.alerts.end(5)
    notifier = world.notifier()
    run_until(notifier, lambda: told(stub))
    run_for(notifier, 20)
    notifier.stop()
    assert told(stub) == Counter({("past", "alert/5"): 1})


def test_routes_and_templates_take_effect_while_it_runs(
    world: NotifyingWorld, stub: HttpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifier.notifier.CONFIGURATION_SECONDS", 0.01)
    hook = world.add("hook", f"http://127.0.0.1:{stub.port}/hook", language="fr")
    notifier = world.notifier()
    set_routes(world.people, hook, [Route(rules=("disk",))])
    set_template(world.people, "home", "fr", "Alerte sur {{ items[0].machine }}", "")
    run_for(notifier, 5)
    world.alerts.begin(1)
    world.alerts.begin(2, rule="disk")
    run_until(notifier, lambda: told(stub))
    run_for(notifier, 20)
    notifier.stop()
    assert told(stub) == Counter({("problem", "alert/2"): 1})
    assert stub.received[0].json["title"] == "Alerte sur attic"


def test_a_test_that_the_dashboard_queues_shows_the_answer_of_the_service(
    world: NotifyingWorld, stub: HttpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifier.notifier.CONFIGURATION_SECONDS", 0.01)
    hook = world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    stub.answer = lambda _: (500, {}, b"no such channel")
    notifier = world.notifier()
    id_ = deliveries.queue_test(world.people, hook, by="ada", now=world.clock.now())
    assert id_ is not None

    def ended() -> bool:
        found = deliveries.find_delivery(world.people, "home", id_)
        return found is not None and found.state == "failed"

    run_until(notifier, ended)
    notifier.stop()
    found = deliveries.find_delivery(world.people, "home", id_)
    assert found is not None
    assert "no such channel" in found.answer
    assert found.attempts == 1


def test_messages_that_cannot_be_read_are_ignored(world: NotifyingWorld, stub: HttpStub) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    topic = topics.ALERT.at(org="home", machine="attic", rule="cpu")
    for payload in (b"{", b"\xff", b"[]", b'{"v": 2}', b'{"v":1,"rule":"cpu"}'):
        world.broker.route(Message(topic, payload, 1, retain=True))
        run_for(notifier, 2)
    world.alerts.begin(1)
    run_until(notifier, lambda: told(stub))
    assert notifier._inbox.unreadable >= 1
    notifier.stop()


def test_while_the_database_is_away_nothing_is_lost(world: NotifyingWorld, stub: HttpStub) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    run_for(notifier, 3)
    with world.people.begin() as connection:
        connection.execute(text("ALTER TABLE told RENAME TO gone"))
    world.alerts.begin(1)
    run_for(notifier, 20)
    with world.people.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO told"))
    run_until(notifier, lambda: told(stub))
    run_for(notifier, 20)
    notifier.stop()
    assert told(stub) == Counter({("problem", "alert/1"): 1})


def test_a_thousand_alerts_reach_the_service_within_seconds(world: NotifyingWorld, stub: HttpStub) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook", group_seconds=0.5)
    notifier = world.notifier()
    run_for(notifier, 3)
    begun: dict[str, float] = {}
    reached: dict[str, float] = {}

    def note(request: object) -> tuple[int, dict[str, str], bytes]:
        for alert in request.json["alerts"]:  # type: ignore[attr-defined]  # a Received
            reached.setdefault(alert["key"], available.seconds)
        return 200, {}, b""

    stub.answer = note
    with available_time() as available:
        for number in range(1000):
            world.alerts.begin(number, machine=f"m{number}")
            begun[f"alert/{number}"] = available.seconds
            if number % 20 == 0:
                notifier.step(0.02)
        run_until(notifier, lambda: len(reached) == 1000, 60)
    notifier.stop()
    delays = sorted(reached[key] - begun[key] for key in begun)
    assert delays[500] < 1.5  # 1 s on a machine that does nothing else: tests/faults measures it
    assert delays[990] < 3


def test_what_is_told_about_an_alert_survives_a_change_of_its_begin(world: NotifyingWorld, stub: HttpStub) -> None:
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    world.alerts.begin(1, since=1000)
    run_until(notifier, lambda: told(stub))
    world.alerts.begin(1, since=500)
    run_for(notifier, 20)
    problem = notifier._planner.find("home", "alert/1") if notifier._planner else None
    notifier.stop()
    assert problem is not None
    assert problem == replace(problem, since=500)
    assert sum(told(stub).values()) == 1
