"""What Home Assistant shows of a fleet, through the bridge."""

import json

import pytest
from bridged import METRICS, SEED, Scene
from clocks import Clock
from home_assistant import check_discovery
from hostile import CORPUS

from bridges.homeassistant import fleet_view
from bridges.homeassistant.machine import COMPONENT_MAX_BYTES, GONE_MAX, RULES_MAX, SERIES_MAX
from broker.client.transport import Disconnected, Message
from runtime.errors import UserError
from schemas.contract import topics
from schemas.contract.commands import Act, Order, Request
from schemas.contract.messages import UNITS, ActionDescription, Metric, Vitals
from schemas.contract.signing import open_signed, public_key

ATTIC = "dashfleet_home_attic"
DISCOVERY = f"homeassistant/device/{ATTIC}/config"
ACTIONS = (
    ActionDescription(name="reboot", title="Reboot", arguments_schema={"type": "object"}),
    ActionDescription(name="run", title="Run", arguments_schema={"type": "object", "required": ["command"]}),
    ActionDescription(name="ping", title="Ping", arguments_schema={"type": "object"}),
)


@pytest.fixture
def scene(clock: Clock) -> Scene:
    return Scene(clock)


@pytest.fixture
def with_buttons(clock: Clock) -> Scene:
    return Scene(clock, buttons=("reboot", "run"))


def series_key(scene: Scene, title: str) -> str:
    """The key of the entity with this name."""
    found = [key for key, entity in scene.home.entities(ATTIC).items() if entity["name"] == title]
    assert len(found) == 1
    return found[0]


def orders(scene: Scene) -> list[Order]:
    """The orders that the bridge has requested, with its signature."""
    found = []
    for event in scene.fleet_client.receive(1000, 0):
        if isinstance(event, Message) and event.topic == topics.REQUEST.at(
            org="home", principal="homeassistant-buttons"
        ):
            change = Request.decode(event.payload).change
            assert isinstance(change, Act)
            found += [open_signed(signed, public_key(SEED), Order) for signed in change.orders]
    return found


def test_a_machine_is_a_device_with_the_readings_that_it_describes(scene: Scene) -> None:
    scene.add()
    assert scene.home.names() == {"attic.example"}
    entities = scene.home.entities(ATTIC)
    assert {entity["name"] for entity in entities.values()} == {
        *("CPU", "Memory used", "Uptime", "Sent", "Disk /", "Disk /srv"),
        *("Connection", "Presence", "Health", "Problem"),
    }
    assert scene.home.state(ATTIC, "vitals_cpu_percent") == "10.0"
    assert entities["vitals_network_sent_bytes"]["state_class"] == "total_increasing"
    assert entities["vitals_memory_used_bytes"]["unit_of_measurement"] == "GB"
    assert entities["vitals_uptime_seconds"]["device_class"] == "duration"
    assert scene.home.state(ATTIC, series_key(scene, "Disk /")) == "40.0"
    assert scene.home.state(ATTIC, series_key(scene, "Disk /srv")) == "unknown"
    assert scene.home.state(ATTIC, "health") == "ok"


def test_a_reading_that_could_not_be_read_is_unknown_and_bytes_are_shown_in_gigabytes(scene: Scene) -> None:
    speaker = scene.add()
    scene.publish(speaker.telemetry(2, vitals=Vitals(memory_used_bytes=4_321_000_000)))
    scene.step(60)
    assert scene.home.state(ATTIC, "vitals_cpu_percent") == "unknown"
    assert scene.home.state(ATTIC, "vitals_memory_used_bytes") == "4.321"


@pytest.mark.parametrize("presence", ["unknown", "stale", "offline", "expired", "retired"])
def test_readings_are_unavailable_unless_the_machine_is_online_and_its_presence_never_is(
    scene: Scene, presence: str
) -> None:
    scene.add()
    scene.presence(presence=presence)
    scene.step()
    assert scene.home.state(ATTIC, "vitals_cpu_percent") == "unavailable"
    assert scene.home.state(ATTIC, "connectivity") == "OFF"
    assert scene.home.state(ATTIC, "presence") == presence
    scene.presence()
    scene.step()
    assert scene.home.state(ATTIC, "vitals_cpu_percent") == "10.0"
    assert scene.home.state(ATTIC, "connectivity") == "ON"


def test_everything_is_unavailable_while_the_bridge_does_not_follow_the_fleet(scene: Scene) -> None:
    scene.add()
    scene.source.stop()
    scene.step()
    assert scene.home.state(ATTIC, "connectivity") == "unavailable"
    scene.source.start()
    scene.step()
    assert scene.home.state(ATTIC, "connectivity") == "ON"
    scene.writer.cut("killed")
    scene.home.read()
    assert scene.home.state(ATTIC, "problem") == "unavailable"


def test_an_alert_is_a_problem_until_it_ends_and_not_while_it_is_silenced(scene: Scene) -> None:
    scene.add()
    assert scene.home.state(ATTIC, "problem") == "OFF"
    scene.alert(detail="97 %")
    scene.step(11)
    assert scene.home.state(ATTIC, "problem") == "ON"
    assert scene.home.state(ATTIC, "alert_disk-full") == "ON"
    assert scene.home.attributes(ATTIC, "problem")["alerts"][0]["detail"] == "97 %"
    scene.alert(silenced_until=scene.clock.now() + 1)
    scene.step()
    assert scene.home.state(ATTIC, "problem") == "OFF"
    scene.alert()
    scene.step()
    assert scene.home.state(ATTIC, "problem") == "ON"
    scene.clear(topics.ALERT.at(org="home", machine="attic", rule="disk-full"))
    scene.step()
    assert scene.home.state(ATTIC, "alert_disk-full") == "OFF"


def test_an_alert_of_a_machine_that_is_offline_is_still_shown(scene: Scene) -> None:
    scene.add()
    scene.presence(presence="offline")
    scene.alert(rule="offline", title="Offline")
    scene.step(11)
    assert scene.home.state(ATTIC, "alert_offline") == "ON"


def test_a_removed_machine_leaves_nothing_behind(scene: Scene) -> None:
    scene.add()
    scene.alert()
    scene.add("cellar")
    scene.clear(topics.PRESENCE.at(org="home", machine="attic"))
    scene.step()
    assert scene.home.names() == {"cellar.example"}
    assert not [topic for topic in scene.target.retained if "attic" in topic]


def test_a_machine_with_another_id_leaves_nothing_behind_and_one_with_another_name_keeps_its_entities(
    scene: Scene,
) -> None:
    scene.add()
    before = scene.home.entities(ATTIC)
    scene.presence(display_name="Loft")
    scene.step(11)
    assert scene.home.names() == {"Loft"}
    assert scene.home.entities(ATTIC) == before
    scene.add("loft")
    scene.clear(topics.PRESENCE.at(org="home", machine="attic"))
    scene.step()
    assert set(scene.home.devices) == {"dashfleet_home_loft"}
    assert not [topic for topic in scene.target.retained if "attic" in topic]


def test_a_machine_that_was_removed_while_the_bridge_was_off_is_removed_when_it_is_back(scene: Scene) -> None:
    scene.add()
    scene.add("cellar")
    scene.bridge.stop(0)
    scene.clear(topics.PRESENCE.at(org="home", machine="attic"))
    scene.clear(topics.INFO.at(org="home", machine="attic"))
    scene.begin()
    scene.step(1)
    assert scene.home.names() == {"attic.example", "cellar.example"}
    scene.step(fleet_view.SETTLE_SECONDS)
    assert scene.home.names() == {"cellar.example"}
    assert not [topic for topic in scene.target.retained if "attic" in topic]


def test_a_broker_that_has_lost_its_retained_messages_removes_nothing(scene: Scene) -> None:
    scene.add()
    scene.alert()
    scene.step(11)
    scene.source.stop()
    scene.step()
    scene.source.start()
    scene.step(10 * fleet_view.SETTLE_SECONDS)
    assert scene.home.names() == {"attic.example"}
    while not scene.fleet_client.connected:
        scene.fleet_client.receive(1, 0)
    scene.config()  # an ingestor is back, and publishes what there is
    scene.presence()
    scene.step(fleet_view.SETTLE_SECONDS)
    assert scene.home.names() == {"attic.example"}
    assert scene.home.state(ATTIC, "problem") == "OFF"


def test_an_entity_that_is_gone_is_removed_also_after_a_restart_of_the_bridge(scene: Scene) -> None:
    scene.add()
    scene.bridge.stop(0)
    scene.publish(scene.speaker().info(metrics=METRICS[:1]))
    scene.begin()
    scene.step(1)
    assert "vitals_cpu_percent" in scene.home.entities(ATTIC)
    assert "vitals_uptime_seconds" not in scene.home.entities(ATTIC)
    retained = json.loads(scene.target.retained[DISCOVERY].payload)
    assert retained["components"]["vitals_uptime_seconds"] == {"platform": "sensor"}


def test_a_restart_keeps_entities_of_devices_and_rules_that_it_has_not_heard_of_yet(scene: Scene) -> None:
    scene.add()
    scene.alert()
    scene.step(11)
    scene.clear(topics.ALERT.at(org="home", machine="attic", rule="disk-full"))
    scene.step()
    before = scene.home.entities(ATTIC)
    scene.restart()
    scene.step(1)
    assert scene.home.entities(ATTIC) == before
    assert scene.home.state(ATTIC, "alert_disk-full") == "OFF"
    assert scene.home.state(ATTIC, series_key(scene, "Disk /")) == "unknown"
    scene.publish(scene.speaker().telemetry(2, series={"disk_used_percent": {"/": 41.0}}))
    scene.step(11)
    assert scene.home.state(ATTIC, series_key(scene, "Disk /")) == "41.0"
    assert "Disk /srv" not in {entity["name"] for entity in scene.home.entities(ATTIC).values()}


def test_home_assistant_gets_everything_again_when_it_starts_and_when_its_broker_has_lost_it(scene: Scene) -> None:
    scene.add()
    scene.home.received.clear()
    scene.home.start()
    scene.step()
    again = {message.topic for message in scene.home.received}
    assert again == set(scene.target.retained)
    assert DISCOVERY in again
    scene.target.stop()
    scene.target.start()
    scene.step()
    scene.step()
    assert DISCOVERY in scene.target.retained
    assert scene.home.state(ATTIC, "vitals_cpu_percent") == "10.0"


def test_readings_are_passed_on_once_in_an_interval_and_presence_at_once(scene: Scene) -> None:
    speaker = scene.add()
    scene.home.received.clear()
    for seq in range(2, 62):
        scene.publish(speaker.telemetry(seq, vitals=Vitals(cpu_percent=float(seq))))
        scene.step(2)
    states = [message for message in scene.home.received if message.topic.endswith("/state")]
    assert len(states) == 2
    scene.home.received.clear()
    scene.presence(presence="offline")
    scene.step()
    assert [message.topic for message in scene.home.received] == ["dashfleet-homeassistant/home/attic/presence"]


def test_a_machine_that_changes_all_the_time_is_described_once_in_ten_seconds(scene: Scene) -> None:
    scene.add()
    scene.home.received.clear()
    for turn in range(20):
        scene.publish(scene.speaker().info(metrics=METRICS, os=f"os {turn}"))
        scene.step(1)
    assert len([message for message in scene.home.received if message.topic == DISCOVERY]) <= 2


def test_nothing_of_a_machine_can_reach_a_template_a_topic_or_the_terminal(scene: Scene) -> None:
    texts = [
        *[text for some in CORPUS.values() for text in some][:50],
        "{{ states.light }}",
        "\u202egnp.exe",
        "{% for x in y %}",
        "</script>",
        "a" * 64,
    ]
    metrics = [
        Metric(name=f"m{i}", unit=text[:32], title=text[:64], location="extra") for i, text in enumerate(texts)
    ] + [Metric(name="items", unit="count", title="x", location="extra"), METRICS[4]]
    speaker = scene.add(metrics=metrics, os=texts[0][:64])
    scene.presence(display_name=texts[-3])
    scene.alert(title=texts[-4][:64], detail=texts[0])
    scene.publish(speaker.telemetry(2, series={"disk_used_percent": {text[:128]: 1.0 for text in texts if text}}))
    scene.step(11)
    device = scene.home.devices[ATTIC]
    for entity in device["components"].values():
        assert entity["name"].isprintable()
        for name, value in entity.items():
            if name.endswith(("template", "topic", "unique_id")):
                assert not [text for text in texts if len(text) > 1 and text in value], entity
    assert scene.home.state(ATTIC, "extra_items") == "unknown"
    assert scene.home.state(ATTIC, "alert_disk-full") == "ON"


def test_what_one_machine_may_take_is_bounded(scene: Scene) -> None:
    speaker = scene.add()
    seq = 2
    for turn in range(4):
        for rule in range(40):
            scene.alert(rule=f"rule-{turn}-{rule}")
        readings: dict[str, float | None] = {f"/{turn}/{mount}": 1.0 for mount in range(60)}
        scene.publish(speaker.telemetry(seq, series={"disk_used_percent": readings}))
        scene.step(11)
        seq += 1
    device = json.loads(scene.target.retained[DISCOVERY].payload)["components"]
    assert len([key for key in device if key.startswith("alert_")]) == RULES_MAX
    assert len([key for key, each in device.items() if key.startswith("series_") and len(each) > 1]) == SERIES_MAX
    assert len([each for each in device.values() if len(each) == 1]) <= GONE_MAX
    assert {f"Disk /3/{mount}" for mount in range(60)} <= {
        entity["name"] for entity in scene.home.entities(ATTIC).values()
    }


def test_what_cannot_be_read_changes_nothing(scene: Scene) -> None:
    scene.add()
    before = dict(scene.target.retained)
    for topic in (topics.INFO, topics.TELEMETRY, topics.PRESENCE):
        scene.publish(Message(topic.at(org="home", machine="attic"), b"{", 1))
    scene.publish(Message(topics.PRESENCE.at(org="other", machine="attic"), b"", 1))
    for payload in (b"{", b"[]", b'{"components": 3}', b'{"components": {"../x": {}, "a": 1}}', b"\xff"):
        scene.target.route(Message("homeassistant/device/dashfleet_home_other/config", payload, 1, retain=True))
    scene.target.route(Message("homeassistant/device/zigbee/config", b"{}", 1, retain=True))
    scene.home.devices.clear()
    scene.bridge.step(0)
    assert scene.fleet.unreadable == 3
    assert {topic: scene.target.retained[topic] for topic in before} == before


@pytest.mark.parametrize(
    "alert",
    [
        '{"platform": "sensor", "name": "\\ud800"}',
        '{"platform": "sensor", "name": NaN}',
        '{"platform": "sensor", "name": 1e999}',
        '{"platform": ["sensor"], "name": "x"}',
        f'{{"platform": "sensor", "name": "{"x" * COMPONENT_MAX_BYTES}"}}',
    ],
)
def test_another_client_of_home_assistants_broker_can_neither_end_the_bridge_nor_be_repeated_by_it(
    scene: Scene, alert: str
) -> None:
    scene.add()
    payload = f'{{"components": {{"alert_x": {alert}}}}}'.encode()
    scene.target.route(Message(DISCOVERY, payload, 1, retain=True))
    scene.restart()
    scene.presence(display_name="another")
    for _ in range(3):
        scene.clock.advance(11)
        scene.bridge.step(0)
    described = json.loads(scene.target.retained[DISCOVERY].payload)
    assert described["device"]["name"] == "another"
    assert "vitals_cpu_percent" in described["components"]
    assert "alert_x" not in described["components"]


def test_there_are_no_buttons_unless_they_are_asked_for(scene: Scene) -> None:
    scene.add(actions=ACTIONS)
    assert not [each for each in scene.home.entities(ATTIC).values() if each["platform"] == "button"]
    scene.target.route(Message("dashfleet-homeassistant/home/attic/press/reboot", b"PRESS"))
    scene.step()
    assert not orders(scene)


def test_a_button_orders_its_action_once_for_a_short_time(with_buttons: Scene) -> None:
    scene = with_buttons
    scene.add(actions=ACTIONS)
    buttons = {key: each for key, each in scene.home.entities(ATTIC).items() if each["platform"] == "button"}
    assert set(buttons) == {"button_reboot"}, "`run` needs an argument, and nobody asked for `ping`"
    assert buttons["button_reboot"]["device_class"] == "restart"
    scene.home.press(ATTIC, "button_reboot")
    scene.home.press(ATTIC, "button_reboot")
    scene.step()
    found = {order.id: order for order in orders(scene)}
    assert [(each.machine, each.action, each.arguments) for each in found.values()] == [("attic", "reboot", {})]
    (order,) = found.values()
    assert order.expires_at - order.issued_at == 60_000


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("home/attic/press/reboot", {"payload": b"PRESS", "retain": True}),
        ("home/attic/press/reboot", {"payload": b"anything"}),
        ("home/attic/press/ping", {"payload": b"PRESS"}),
        ("home/attic/press/run", {"payload": b"PRESS"}),
        ("home/cellar/press/reboot", {"payload": b"PRESS"}),
        ("other/attic/press/reboot", {"payload": b"PRESS"}),
    ],
)
def test_only_the_press_of_a_button_that_exists_is_one(
    with_buttons: Scene, topic: str, message: dict[str, object]
) -> None:
    scene = with_buttons
    scene.add(actions=ACTIONS)
    pressed = Message(f"dashfleet-homeassistant/{topic}", **message)  # type: ignore[arg-type]
    if pressed.retain:
        scene.target.retained[pressed.topic] = pressed
        scene.restart()
    else:
        scene.target.route(pressed)
    scene.step(1)
    assert not orders(scene)


def test_a_rejected_credential_ends_the_bridge_with_a_sentence(scene: Scene) -> None:
    scene.reader._events.append(Disconnected("the broker rejected the user name or the secret", refused=True))
    with pytest.raises(UserError, match="rejected the user name or the password"):
        scene.bridge.step(0)


def test_home_assistant_accepts_the_discovery_of_a_thousand_machines(clock: Clock) -> None:
    scene = Scene(clock)
    scene.config()
    rare = tuple(
        Metric(name=f"m{i}", unit=unit, title=unit or "None", location="extra", kind=kind)  # type: ignore[arg-type]
        for i, (unit, kind) in enumerate(
            (unit, kind) for unit in (*UNITS, "furlongs", "") for kind in ("gauge", "counter")
        )
    )
    for number in range(1000):
        machine = f"web-{number}"
        metrics = METRICS + (rare if number % 50 == 0 else ())
        scene.publish(scene.speaker(machine).info(metrics=metrics, actions=ACTIONS))
        scene.presence(machine)
    while not scene.bridge._mirror.is_current or len(scene.target.retained) < 4000:
        scene.bridge.step(0)
    found = [each for topic, each in scene.target.retained.items() if topic.startswith("homeassistant/")]
    assert len(found) == 1000
    for message in found:
        check_discovery(message.topic, message.payload)


def test_the_schema_of_the_tests_rejects_what_home_assistant_would_not_accept(scene: Scene) -> None:
    scene.add()
    payload = json.loads(scene.target.retained[DISCOVERY].payload)
    everything: tuple[dict[str, object], ...] = (
        {"components": {"x": {"platform": "sensor", "name": "no unique id", "state_topic": "a"}}},
        {"components": {"x": {"platform": "sensor", "unique_id": "x", "state_topic": "a/+"}}},
        {"components": {"x": {"platform": "nothing"}}},
        {"device": {"name": "no identifiers"}},
        {"origin": {}},
        {"other": 1},
    )
    for wrong in everything:
        with pytest.raises(Exception, match=r"."):
            check_discovery(DISCOVERY, json.dumps({**payload, **wrong}).encode())
    sensor = {"platform": "sensor", "unique_id": "x", "state_topic": "a", "device_class": "temperature"}
    for odd in ({"unit_of_measurement": "%"}, {"unit_of_measurement": "°C", "state_class": "total_increasing"}):
        with pytest.raises(AssertionError):
            check_discovery(DISCOVERY, json.dumps({**payload, "components": {"x": {**sensor, **odd}}}).encode())
