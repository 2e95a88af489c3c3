"""`dashfleet up` in a copy of the source tree: parts are killed and restarted, pages are read in a browser."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from seeding import Fleet
from servers import free_port, require_chromium
from sqlalchemy import Engine, delete, select
from waiting import wait_until

from runtime.state_directory import StateDirectory
from schemas.database import tables
from schemas.database.engine import open_engine

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "screenshots"
READY_SECONDS = 90.0
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PLUG_IN = '''
"""A plug-in added by a test."""

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Coffee(Collector):
    """Fill level of the coffee pot."""

    metrics = (Metric(name="coffee_percent", unit="percent", title="Coffee pot"),)

    def collect(self) -> Readings:
        """Return 75 %."""
        return {"coffee_percent": 75.0}
'''


@dataclass
class Up:
    """A running `dashfleet up` and its output."""

    tree: Path
    data: Path
    broker_port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    said: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        argv = [
            sys.executable, "-m", "dashfleet", "up", "--data", str(self.data), "--interval", "1",
            "--broker-port", str(self.broker_port), "--dashboard-port", str(self.dashboard_port),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(self.tree)}
        self.process = subprocess.Popen(
            argv, cwd=self.tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            self.said.extend(line.rstrip() for line in lines)

    def wait_for(self, words: str, *, after: int = 0) -> str:
        def found() -> str | None:
            assert self.process is not None
            assert self.process.poll() is None, self.said
            return next((line for line in self.said[after:] if words in line), None)

        return str(wait_until(found, seconds=READY_SECONDS, what=f"{words!r} in {self.said}"))

    def machine(self) -> dict[str, Any]:
        (machine,) = self.machines()
        return machine

    def machines(self) -> list[dict[str, Any]]:
        argv = [sys.executable, "-m", "dashfleet", "machines", "--json", "--data", str(self.data)]
        listed = subprocess.run(argv, cwd=self.tree, capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(listed.stdout)
        return found

    def part(self, name: str) -> psutil.Process:
        """Return the process of a part."""
        assert self.process is not None
        words = {"dashfleet", name}, {"-m", name}  # an agent that was started again is `python -m agent`
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if any(each <= set(child.cmdline()) for each in words))

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send Ctrl-C or another signal and wait until it has exited."""
        assert self.process is not None
        self.process.send_signal(number)
        assert self.process.wait(40) == 0, self.said


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    tree = tmp_path_factory.mktemp("tree")
    for part in ("agent", "broker", "cli", "dashboard", "ingestor", "schemas"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("*.py"):
        shutil.copy(file, tree)
    (tree / "agent" / "collectors" / "coffee.py").write_text(PLUG_IN)
    up = Up(tree, tmp_path_factory.mktemp("data"))
    up.start()
    up.wait_for("Press Ctrl-C to stop all parts")
    yield up
    if up.process is not None and up.process.poll() is None:
        up.process.kill()
        up.process.wait()


@pytest.fixture(scope="module")
def page(up: Up) -> Iterator[Page]:
    up.wait_for("Sign in as admin")
    password = (up.data / "secrets" / "first-password").read_text().strip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-GB")
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.goto(f"http://127.0.0.1:{up.dashboard_port}/")
        page.get_by_label("User").fill("admin")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        yield page
        browser.close()


def test_each_part_says_that_it_is_ready_and_then_where_to_go(up: Up) -> None:
    starts = [line.split()[0] for line in up.said if line]
    assert starts[:6] == ["broker", "ingestor", "notifier", "agent", "dashboard", "Open"]
    assert f"http://127.0.0.1:{up.dashboard_port}" in up.wait_for("Open")


def test_nobody_else_can_read_anything_in_the_state_directory(up: Up) -> None:
    exposed = [path for path in up.data.rglob("*") if path.stat().st_mode & 0o077]
    assert not exposed


def test_the_figures_agree_with_those_of_the_operating_system(up: Up) -> None:
    machine = wait_until(lambda: (row := up.machine())["presence"] == "online" and row["ledger"]["stored"] > 2 and row)
    assert isinstance(machine, dict)
    vitals = machine["vitals"]
    free = subprocess.run(["free", "-b"], capture_output=True, text=True, check=True).stdout.splitlines()[1].split()
    assert vitals["memory_used_bytes"] == pytest.approx(int(free[1]) - int(free[6]), rel=0.1)
    df = subprocess.run(["df", "--output=used,pcent", "-B1", "/"], capture_output=True, text=True, check=True).stdout
    used, percent = df.splitlines()[1].split()
    assert vitals["disk_used_bytes"] == pytest.approx(int(used), rel=0.05)
    assert vitals["disk_percent"] == pytest.approx(int(percent.rstrip("%")), abs=1.5)
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert vitals["uptime_seconds"] == pytest.approx(uptime, abs=10)


def test_this_machine_is_in_the_browser_with_its_plug_in_metric(up: Up, page: Page) -> None:
    name = up.machine()["machine"]
    expect(page.get_by_role("cell", name="Online", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "up-fleet.png")
    page.goto(f"http://127.0.0.1:{up.dashboard_port}/machine?id={name}")
    expect(page.get_by_text("Coffee pot").first).to_be_visible()
    expect(page.get_by_text("Debian").or_(page.get_by_text("Linux")).first).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "up-machine.png", full_page=True)


def test_the_agent_does_what_is_asked_of_it_in_a_terminal(up: Up) -> None:
    name = up.machine()["machine"]
    argv = [sys.executable, "-m", "dashfleet", "act", "ping", name, "--wait", "--json", "--data", str(up.data)]
    done = subprocess.run(argv, cwd=up.tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["machine"], row["state"]) == (name, "succeeded")


def test_the_agent_does_what_is_asked_of_it_in_the_browser(up: Up, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{up.dashboard_port}/machine?id={up.machine()['machine']}")
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    page.get_by_role("option", name="Ping", exact=True).click()
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Ping: 1 machine").click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "up-action.png")
    dialog.get_by_role("link", name="Activity").click()
    expect(page.locator(".df-fleet .df-name")).to_have_count(1)  # the previous page does not have it
    page.locator(".df-fleet .df-name").click()
    expect(page.get_by_role("heading", name=re.compile("Ping on"))).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "up-command.png", full_page=True)


def test_a_killed_agent_is_offline_within_five_seconds_and_comes_back(up: Up) -> None:
    told = len(up.said)
    engine = open_engine(StateDirectory(up.data).database_url, read_only=True)
    up.part("agent").kill()
    wait_until(lambda: _presence(engine) == ("offline", "lost"), seconds=5.0, what="offline in the database")
    engine.dispose()
    up.wait_for("agent      was killed by signal 9", after=told)
    wait_until(lambda: up.machine()["presence"] == "online", seconds=60, what="the agent's return")


def test_an_agent_that_stops_is_within_ten_seconds_the_first_row_counted_greyed_and_in_the_title(
    up: Up, page: Page
) -> None:
    """The supervisor stands still meanwhile, as it would start the agent again."""
    assert up.process is not None
    name = up.machine()["machine"]
    engine = open_engine(StateDirectory(up.data).database_url)
    fleet = Fleet(engine, now=time.time_ns() // 1_000_000)
    others = [fleet.machine("slow", presence="stale"), *(fleet.machine(f"a-{i:02}") for i in range(60))]
    try:
        page.goto(f"http://127.0.0.1:{up.dashboard_port}/")
        rows, attention = page.locator(".df-fleet tbody tr"), page.locator(".df-card[data-code=attention]")
        expect(rows).to_have_count(50)
        expect(rows.first).to_have_attribute("data-id", "slow")
        up.process.send_signal(signal.SIGSTOP)
        up.part("agent").terminate()
        until = time.monotonic() + 10

        def left() -> float:
            return max(1.0, 1000 * (until - time.monotonic()))

        expect(rows.first).to_have_attribute("data-id", name, timeout=left())
        expect(rows.first).to_contain_text("Offline", timeout=left())
        expect(rows.first).to_contain_text("as of", timeout=left())
        expect(rows.first.locator("td.df-col-cpu.df-aged")).to_be_visible(timeout=left())
        expect(attention.locator("strong")).to_have_text("2", timeout=left())
        expect(page.locator(".df-strip li").first).to_contain_text("offline since", timeout=left())
        expect(page.get_by_role("link", name="Fleet")).to_have_attribute("data-count", "2", timeout=left())
        expect(page).to_have_title("(2) DashFleet", timeout=left())
        print(f"an agent that stops is shown after {10 - left() / 1000:.1f} s")
        page.screenshot(path=SCREENSHOTS / "up-agent-stopped.png")
        assert up.machines()[0]["machine"] == name
    finally:
        up.process.send_signal(signal.SIGCONT)
        with engine.begin() as connection:
            connection.execute(delete(tables.state).where(tables.state.c.machine_id.in_(others)))
            connection.execute(delete(tables.machine).where(tables.machine.c.id.in_(others)))
        engine.dispose()
    wait_until(lambda: up.machine()["presence"] == "online", seconds=60, what="the agent's return")


def _presence(engine: Engine) -> tuple[str, str]:
    with engine.connect() as connection:
        row = connection.execute(select(tables.state.c.presence, tables.state.c.reason)).one()
    return row.presence, row.reason


@pytest.mark.parametrize("name", ["ingestor", "broker"])
def test_a_killed_server_part_is_started_again_and_no_sample_is_missing(up: Up, name: str) -> None:
    before, told = up.machine()["ledger"], len(up.said)
    up.part(name).kill()
    up.wait_for("was killed by signal 9", after=told)

    def caught_up() -> bool:
        ledger = up.machine()["ledger"]
        return bool(ledger["expected"] > before["expected"] + 5 and ledger["stored"] == ledger["expected"])

    wait_until(caught_up, seconds=90, what=f"a ledger without gaps (now {up.machine()['ledger']})")
    assert up.machine()["ledger"]["lost"] == 0


def test_what_passes_can_be_watched(up: Up) -> None:
    argv = [sys.executable, "-m", "dashfleet", "watch", "--json", "--data", str(up.data)]
    watching = subprocess.Popen(argv, cwd=up.tree, stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout is not None
        seen = {json.loads(watching.stdout.readline())["topic"].rpartition("/")[2] for _ in range(6)}
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0
        if watching.stdout is not None:
            watching.stdout.close()
    assert {"_config", "status", "info", "telemetry"} <= seen


def test_ctrl_c_leaves_no_process_and_a_machine_that_said_goodbye(up: Up) -> None:
    assert up.process is not None
    children = psutil.Process(up.process.pid).children(recursive=True)
    up.interrupt()
    assert not [child for child in children if child.is_running()]
    machine = up.machine()
    assert (machine["presence"], machine["reason"]) == ("offline", "stopped")
    assert machine["ledger"]["lost"] == 0


def test_a_second_start_finds_the_same_machine_and_shows_no_password_again(up: Up) -> None:
    name, told = up.machine()["machine"], len(up.said)
    up.start()
    assert "the password shown at the first start" in up.wait_for("Sign in as", after=told)
    wait_until(lambda: up.machine()["presence"] == "online", seconds=60)
    assert up.machine()["machine"] == name
    assert up.machine()["ledger"]["lost"] == 0
    up.interrupt(signal.SIGHUP)  # as when the terminal is closed
    assert up.machine()["reason"] == "stopped"
    secrets = [path.read_text().strip() for path in (up.data / "secrets").rglob("*") if path.is_file()]
    logged = "".join(path.read_text() for path in (up.data / "logs").iterdir()) + "".join(up.said)
    assert not [secret for secret in secrets if secret in logged]
