"""The web page in `examples/web`: a fleet in a real browser, with mqtt.js and the topics alone."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from brokers import PASSWORD, RawClient, mosquitto_broker
from playwright.sync_api import Browser, Page, expect
from screens import grave, photograph
from servers import free_port, require_module_of_node

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from schemas.contract import topics

ROOT: Final = Path(__file__).parents[2]
MQTT_JS: Final = ROOT / "tests" / "support" / "node" / "node_modules" / "mqtt" / "dist" / "mqtt.esm.js"
READER, WRITER = Principal(Role.READER, "home", "page"), Principal(Role.INGESTOR, "", "ingestor")
ATTIC: Final = Principal(Role.MACHINE, "home", "attic")
HOSTILE: Final = "<img src=x onerror=document.title='ran'>"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The page on a web server, with mqtt.js beside it as its first lines say."""
    require_module_of_node("mqtt")
    place = tmp_path / "web"
    shutil.copytree(ROOT / "examples" / "web", place)
    shutil.copy(MQTT_JS, place)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join(20)


def presence(client: RawClient, machine: str, **fields: Any) -> None:  # noqa: ANN401
    told = {"v": 1, "presence": "online", "since": 1_760_000_000_000, "display_name": machine, **fields}
    client.publish(topics.PRESENCE.at(org="home", machine=machine), json.dumps(told).encode(), retain=True)


def sign_in(page: Page, port: int, password: str) -> None:
    page.get_by_label("Address").fill(f"ws://127.0.0.1:{port}/mqtt")
    page.get_by_label("User name").fill(READER.username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Connect").click()


def test_the_example_page_shows_a_fleet_from_its_topics_alone(browser: Browser, address: str, tmp_path: Path) -> None:
    port, directory = free_port(), MemoryDirectory({READER: PASSWORD, WRITER: PASSWORD, ATTIC: PASSWORD})
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto_broker(directory, tmp_path, websocket_port=port))
        client, machine = (stack.enter_context(RawClient(broker.port)) for _ in range(2))
        assert client.connect(WRITER.username) == 0
        assert machine.connect(ATTIC.username) == 0
        presence(client, "attic")
        presence(client, "cellar", presence="offline", display_name=HOSTILE)
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
        stack.callback(context.close)
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        sign_in(page, port, "wrong")
        expect(page.get_by_role("status")).to_have_text("The broker refuses this user name and password.")
        sign_in(page, port, PASSWORD)
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text(HOSTILE)
        expect(page).to_have_title("(1) Fleet")
        vitals = {"cpu_percent": 12.34, "memory_percent": 56.7}
        sample = {"v": 1, "seq": 1, "sampled_at": 1, "session": 1, "stream": "0-1", "oldest_seq": 1, "vitals": vitals}
        machine.publish(topics.TELEMETRY.at(org="home", machine="attic"), json.dumps(sample).encode())
        expect(rows.last).to_contain_text("12.3 %")
        alert = topics.ALERT.at(org="home", machine="attic", rule="cpu")
        told = {"v": 1, "rule": "cpu", "title": "High CPU usage", "severity": "critical", "since": 1}
        client.publish(alert, json.dumps(told).encode(), retain=True)
        expect(rows.last).to_contain_text("High CPU usage")
        assert grave(page) == []
        photograph(page, "example-page-phone")
        client.publish(alert, b"", retain=True)
        client.publish(topics.PRESENCE.at(org="home", machine="cellar"), b"", retain=True)
        expect(page.get_by_text("1 machine, 0 not online")).to_be_visible()
        expect(page.get_by_text("High CPU usage")).to_have_count(0)
        client.publish(topics.PRESENCE.at(org="home", machine="odd"), b'{"v": 1, "presence": [', retain=True)
        presence(client, "barn")
        expect(rows).to_have_count(2)
        assert errors == []
