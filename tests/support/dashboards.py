"""A dashboard in its own process, and a browser."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright
from servers import free_port, require_chromium, stop

from runtime.urls import sqlite_url

_SERVE = """
import json, sys
from dashboard.server.app import run
from runtime.settings.dashboard import DashboardSettings
run(DashboardSettings(**json.loads(sys.argv[1])), lambda: print("ready", flush=True))
"""
_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--process-per-site",  # see Visitors
]
_FIRST_PAGE_MILLISECONDS = 60_000
"""Streamlit's first page is 5 MB of scripts."""


@dataclass
class Dashboard:
    """A dashboard that can be stopped, and restarted on its port."""

    directory: Path
    port: int
    server: str = "mqtt://127.0.0.1:1"
    database: str = ""
    preparation: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory / "dashboard.log"

    def start(self) -> None:
        settings = {
            "data": str(self.directory),
            "port": self.port,
            "database": self.database or sqlite_url(self.directory / "fleet.db"),
            "auth_database": sqlite_url(self.directory / "auth.db"),
            "key_file": str(self.directory / "secrets" / "notification-key"),
            "refresh_seconds": 1.0,
            "server": self.server,
            "password_file": str(self.directory / "secrets" / "dashboard"),
            "signing_keys": str(self.directory / "secrets" / "signing"),
            **self.more,
        }
        with self.log.open("ab") as log:
            argv = [sys.executable, "-c", self.preparation + _SERVE, json.dumps(settings)]
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        with self.process.stdout as said:
            assert said.readline() == b"ready\n", self.log.read_text()

    def stop(self) -> int:
        """Terminate the process and return its exit code."""
        assert self.process is not None
        stop(self.process)
        return self.process.returncode


@contextmanager
def serving(
    directory: Path,
    server: str,
    database: str = "",
    *,
    port: int = 0,
    preparation: str = "",
    more: dict[str, Any] | None = None,
) -> Iterator[Dashboard]:
    """Run a dashboard over the databases in a directory, and check that its log has no traceback.

    `preparation`: Python code to run before the start. `more`: additional settings.
    """
    dashboard = Dashboard(directory, port or free_port(), server, database, preparation, more=more or {})
    dashboard.start()
    try:
        yield dashboard
    finally:
        dashboard.stop()
    assert "Traceback" not in dashboard.log.read_text(), dashboard.log.read_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium."""
    expect.set_options(timeout=_FIRST_PAGE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=_CHROMIUM)
        yield browser
        browser.close()
