"""From nothing to the first machine on the page, following only the page, in less than two minutes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from screens import photograph
from servers import free_port
from waiting import wait_until

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 120.0
HERE = Path(sys.executable).parent


@dataclass
class Shell:
    """A terminal: a directory, an environment, and the processes that run until the end."""

    directory: Path
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)

    @contextmanager
    def typing(self, line: str, *, answer: str = "") -> Iterator[subprocess.Popen[str]]:
        """Start a command that keeps running, and answer its prompt."""
        process = subprocess.Popen(
            ["bash", "-c", line],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(answer)
        process.stdin.close()
        listening = threading.Thread(target=self._listen, args=(process,))
        listening.start()
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(40)
            listening.join(20)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            self.said.extend(line.rstrip() for line in lines)

    def run(self, line: str) -> str:
        """Run a command and return its output."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.directory, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def wait_for(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in list(self.said))), None)

        match = wait_until(found, seconds=WITHIN_SECONDS, what=f"{pattern} in {self.said}")
        assert match is not None
        return match


def shell(directory: Path, data: str, programs: Path, **more: str) -> Shell:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DASHFLEET_", "VIRTUAL_ENV"))}
    paths = {"PATH": f"{programs}:{kept['PATH']}", "HOME": str(directory), "DASHFLEET_DATA": str(directory / data)}
    directory.mkdir(exist_ok=True)
    return Shell(directory, {**kept, **paths, **more})


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without an installation, in an environment that provides what pip would download."""
    clone = tmp_path_factory.mktemp("machine") / "clone"
    ignored = shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", "screenshots", "docs", "tests", "dist")
    shutil.copytree(ROOT, clone, ignore=ignored)
    environment = clone / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    for package in ours.iterdir():
        if not package.name.startswith(("dashfleet", "_dashfleet", "_editable")) and package.suffix != ".pth":
            (packages / package.name).symlink_to(package)
    pip = environment / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{environment}/bin/python" -m pip "$@"\n')
    pip.chmod(0o755)
    return clone


@pytest.fixture
def a_page(browser: Browser) -> Callable[[], AbstractContextManager[Page]]:
    @contextmanager
    def opened() -> Iterator[Page]:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
        yield context.new_page()
        context.close()

    return opened


@pytest.mark.timeout(400)
def test_the_page_leads_from_nothing_to_a_machine(a_page: Any, clone: Path, tmp_path: Path) -> None:  # noqa: ANN401
    broker, port = free_port(), free_port()
    place = {"DASHFLEET_DASHBOARD_MACHINES_SERVER": f"mqtts://127.0.0.1:{broker}"}
    server = shell(tmp_path / "server", "state", HERE, **place)
    up = f"dashfleet up --no-agent --listen 127.0.0.1 --broker-port {broker} --dashboard-port {port}"
    began = time.monotonic()
    with server.typing(up) as refused:
        server.wait_for("run dashfleet tls NAME first, with the name machines will use")
        assert refused.wait(30) == 2
    server.run("dashfleet tls 127.0.0.1")
    with server.typing(up), a_page() as page:
        file = server.wait_for(r"Sign in as admin with the password in (\S+);")[1]
        password = Path(file).read_text().strip()
        page.goto(server.wait_for(r"(http://127\.0\.0\.1:\d+)")[1])
        page.get_by_label("User").fill("admin")
        page.get_by_label("Password").fill(password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="No machines yet")).to_be_visible()
        photograph(page, "first-machine-empty-light")
        lines = page.locator(".st-key-card_empty pre code")
        expect(lines).to_have_count(2)
        create, join = lines.all_inner_texts()
        token = server.run(create).strip().splitlines()[-1]
        shutil.copy(tmp_path / "server" / "state" / "tls" / "ca.pem", clone)
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        machine = shell(clone, "state", clone / "environment" / "bin", **offline)
        with machine.typing(join, answer=f"{token}\n"):
            online = page.locator(".df-fleet tbody tr", has_text="Online")
            try:
                expect(online).to_have_count(1, timeout=WITHIN_SECONDS * 1000)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{machine.said[-20:]}") from None
            took = time.monotonic() - began
            print(f"from nothing to the first machine: {took:.0f} s")
            photograph(page, "first-machine-there-light")
    assert took < WITHIN_SECONDS
