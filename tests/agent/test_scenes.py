"""The real agent on odd systems: each scene in `scenes` replaces files of /proc and /sys, in a mount namespace.

A scene is a directory with `scene.json` and the files below `root`. Its keys: `about`; `settings` of the agent;
`vitals` and `info` that are expected, where a list of two numbers is a range; and those of `scene_namespace`.
`{work}` in a setting or an expectation is the directory of the test.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from brokers import PASSWORD, RunningBroker, embedded_broker
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Message
from schemas.contract import topics
from schemas.contract.messages import VITALS, Info, Telemetry

SCENES = Path(__file__).parent / "scenes"
RUNNER = Path(__file__).parents[1] / "support" / "scene_namespace.py"
NAMES = sorted(path.name for path in SCENES.iterdir())
READER = Principal(Role.READER, "home", "scenes")


def _why_not() -> str:
    """Return why there can be no mount namespace here; empty if there can."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root for a mount namespace"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no mount namespace: {tried.stderr.strip()}"


pytestmark = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "runs")


class RunningScene:
    """An agent in a scene, and what it publishes."""

    def __init__(self, name: str, work: Path, port: int) -> None:
        self.name, self.work, self.root = name, work, work / "root"
        self.scene: dict[str, Any] = json.loads((SCENES / name / "scene.json").read_text().replace("{work}", str(work)))
        self.info: Info | None = None
        self.samples: list[Telemetry] = []
        shutil.copytree(SCENES / name / "root", self.root) if (SCENES / name / "root").exists() else self.root.mkdir()
        (work / "scene.json").write_text(json.dumps(self.scene))
        self._settings = {
            "data": str(work / "state"),
            "machine": name,
            "server": f"mqtt://127.0.0.1:{port}",
            "interval_seconds": 0.3,
            **self.scene.get("settings", {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the agent, once."""
        if self._process is not None:
            return
        (self.work / "password").write_text(PASSWORD)
        (self.work / "password").chmod(0o600)
        settings = {**self._settings, "password_file": str(self.work / "password")}
        environment = {**os.environ, "DASHFLEET_RESOLVED_SETTINGS": json.dumps(settings)}
        with (self.work / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, RUNNER, self.root, self.work / "scene.json", sys.executable, "-m", "agent"],
                env=environment,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        shutil.rmtree(self.work / "aside", ignore_errors=True)

    @property
    def log(self) -> str:
        return (self.work / "log").read_text()

    def handle(self, message: Message) -> None:
        address = topics.parse(message.topic)
        if address is None or address.machine != self.name:
            return
        if address.topic is topics.INFO:
            self.info = Info.decode(message.payload)
        elif address.topic is topics.TELEMETRY:
            self.samples.append(Telemetry.decode(message.payload))

    def require_running(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self.log


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    machines = [Principal(Role.MACHINE, "home", name) for name in NAMES]
    with embedded_broker(dict.fromkeys((*machines, READER), PASSWORD)) as running:
        yield running


@contextmanager
def running_scene(name: str, work: Path, broker: RunningBroker) -> Iterator[RunningScene]:
    work.mkdir(exist_ok=True)
    scene = RunningScene(name, work, broker.port)
    try:
        yield scene
    finally:
        scene.stop()


def hear(broker: RunningBroker, scene: RunningScene, count: int) -> Telemetry:
    """Return the newest sample after this number of further ones."""
    scene.start()
    until = len(scene.samples) + count
    reader = Mqtt(
        broker.address,
        username=READER.username,
        password=PASSWORD,
        subscriptions=[("dashfleet/v1/home/+/up/info", 1), ("dashfleet/v1/home/+/up/telemetry", 0)],
        backoff=Backoff(first_seconds=0.1, most_seconds=0.1),
    )

    def heard() -> bool:
        scene.require_running()
        for event in reader.receive(100, 0.1):
            if isinstance(event, Message):
                scene.handle(event)
        return scene.info is not None and len(scene.samples) >= until

    try:
        wait_until(heard, what=f"{until} samples of {scene.name}: {scene.log}")
    finally:
        reader.close()
    return scene.samples[-1]


def differences(expected: dict[str, Any], found: object) -> dict[str, Any]:
    """Return what was found in place of what was expected, by name."""

    def fits(wanted: Any, value: Any) -> bool:  # noqa: ANN401 - JSON
        if isinstance(wanted, list):
            return value is not None and wanted[0] <= value <= wanted[1]
        return bool(wanted == value)

    found_values = {name: getattr(found, name) for name in expected}
    return {name: value for name, value in found_values.items() if not fits(expected[name], value)}


@pytest.mark.parametrize("name", NAMES)
def test_the_agent_runs_in_each_scene_and_sends_what_is_true(name: str, tmp_path: Path, broker: RunningBroker) -> None:
    with running_scene(name, tmp_path, broker) as scene:
        sample = hear(broker, scene, 3)

        assert differences(scene.scene.get("vitals", {}), sample.vitals) == {}
        assert differences(scene.scene.get("info", {}), scene.info) == {}
        assert set(scene.scene.get("vitals", {})) <= set(VITALS)
        assert "Traceback" not in scene.log


def test_processor_load_is_read_again_when_it_could_not_be_read_at_the_start(
    tmp_path: Path, broker: RunningBroker
) -> None:
    with running_scene("stat-late", tmp_path, broker) as scene:
        assert hear(broker, scene, 2).vitals.cpu_percent is None
        for user in range(0, 4000, 400):
            (scene.root / "proc/stat").write_text(
                f"cpu  {user} 0 0 {3 * user} 0 0 0 0 0 0\ncpu0 {user} 0 0 {3 * user}\n"
            )
            if (found := hear(broker, scene, 1).vitals.cpu_percent) is not None:
                break
        assert found == 25.0


def test_a_container_that_starts_again_has_another_boot_id(tmp_path: Path, broker: RunningBroker) -> None:
    ids: list[str | None] = []
    for started_at in ("987654", "987654", "1987654"):
        with running_scene("container-reboot", tmp_path / str(len(ids)), broker) as scene:
            file = scene.root / "proc/1/stat"
            file.write_text(file.read_text().replace("987654", started_at))
            hear(broker, scene, 1)
            assert scene.info is not None
            ids.append(scene.info.boot_id)

    assert ids[0] == ids[1] != ids[2]


def test_sensors_that_disappear_cost_their_own_values_only(tmp_path: Path, broker: RunningBroker) -> None:
    with running_scene("sensors", tmp_path, broker) as scene:
        scene._settings["detail_interval_seconds"] = 0.3

        def series(count: int) -> dict[str, dict[str, float | None]]:
            before = len(scene.samples)
            hear(broker, scene, count)
            return {metric: by for sample in scene.samples[before:] for metric, by in sample.series.items()}

        hear(broker, scene, 3)
        assert "sensor_celsius" in series(4)
        assert scene._process is not None
        shutil.rmtree(f"/proc/{scene._process.pid}/root/sys/class/hwmon")  # in its mount namespace
        hear(broker, scene, 3)
        found = series(4)

        assert "sensor_celsius" not in found
        assert {"cpu_core_percent", "disk_used_percent"} <= set(found)
        assert scene.samples[-1].vitals.memory_percent is not None
        numbers = [sample.seq for sample in scene.samples]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
