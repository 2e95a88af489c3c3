"""`dashfleet up --homeassistant`: this machine becomes a device, and a button of it runs an action on the machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from home_assistant import FakeHomeAssistant
from servers import free_port, mosquitto
from waiting import wait_until

from broker.client.mqtt import Mqtt
from runtime.settings.address import ServerAddress

CONFIGURATION = """
[homeassistant]
to_username = ""
buttons = ["ping"]
interval_seconds = 1

[agent]
machine = "attic"
"""


@contextmanager
def up(data: Path, target: int) -> Iterator[None]:
    argv = [sys.executable, "-P", "-m", "dashfleet", "up", "--data", str(data), "--interval", "1"]
    argv += ["--broker-port", str(free_port()), "--dashboard-port", str(free_port())]
    argv += ["--homeassistant", f"mqtt://127.0.0.1:{target}"]
    with (data / "up.log").open("wb") as log:
        process = subprocess.Popen(argv, env=os.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0, (data / "up.log").read_text()


def test_this_machine_becomes_a_device_whose_button_runs_an_action_on_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "dashfleet.toml").write_text(CONFIGURATION)
    with mosquitto(tmp_path) as target:
        transport = Mqtt(
            ServerAddress(host="127.0.0.1", port=target, tls=False),
            username="homeassistant",
            password="",
            subscriptions=FakeHomeAssistant.FOLLOWS,
        )
        home = FakeHomeAssistant(transport)
        with up(data, target):

            def shown() -> str:
                home.read(0.1)
                return next((id_ for id_ in home.devices if "." in home.state(id_, "vitals_cpu_percent")), "")

            device = wait_until(shown, seconds=90, what="a reading in Home Assistant")
            assert home.state(device, "connectivity") == "ON"
            home.press(device, "button_ping")

            def outcome() -> str:
                transport.receive(1, 0.2)
                argv = [sys.executable, "-P", "-m", "dashfleet", "commands", "--data", str(data), "--json"]
                listed = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
                return next((each["state"] for each in listed if each["state"] == "succeeded"), "")

            assert wait_until(outcome, seconds=60, what="the ping succeeded")

        def is_unavailable() -> bool:
            home.read(0.1)
            return home.state(device, "connectivity") == "unavailable"

        wait_until(is_unavailable, seconds=30, what="the device is unavailable")
        transport.close()
