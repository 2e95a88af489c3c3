"""The settings page over the whole product: `dashfleet up`, a real browser, and what the database has afterwards."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from servers import free_port, stop
from visiting import PASSWORD, Visitors
from waiting import wait_until

from dashboard.accounts import add_user, open_accounts
from schemas.urls import sqlite_url

Visit = Callable[..., Page]
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@dataclass
class Site:
    """`dashfleet up` in a state directory."""

    data: Path
    port: int = field(default_factory=free_port)
    broker_port: int = field(default_factory=free_port)
    said: list[str] = field(default_factory=list)
    pid: int = 0

    def run(self, *words: str, typed: str | None = None) -> str:
        """What a command prints."""
        argv = [sys.executable, "-m", "dashfleet", *words, "--data", str(self.data)]
        return subprocess.run(argv, input=typed, capture_output=True, text=True, timeout=60, check=True).stdout

    @contextmanager
    def frozen_ingestor(self) -> Iterator[None]:
        """Meanwhile the ingestor does nothing at all."""
        (ingestor,) = [each for each in psutil.Process(self.pid).children() if "ingestor" in each.cmdline()]
        ingestor.suspend()
        try:
            yield
        finally:
            ingestor.resume()

    def json(self, *words: str) -> Any:  # noqa: ANN401
        return json.loads(self.run(*words, "--json"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    ports = ["--broker-port", str(site.broker_port), "--dashboard-port", str(site.port)]
    argv = [sys.executable, "-m", "dashfleet", "up", "--data", str(site.data), "--interval", "1", *ports]
    environment = {**os.environ, "DASHFLEET_DASHBOARD_REFRESH_SECONDS": "1"}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    site.pid = process.pid

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as output:
            site.said.extend(line.decode(errors="replace").rstrip() for line in output)

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        wait_until(lambda: "Ctrl-C stops" in "\n".join(site.said), seconds=90, what="dashfleet up")
        people = open_accounts(sqlite_url(site.data / "people.db"))
        for name, role in (("ada", "admin"), ("olga", "operator"), ("vera", "viewer")):
            add_user(people, name, PASSWORD, role, "home")
        people.dispose()
        yield site
    finally:
        stop(process, seconds=40)
        reader.join(10)
    logs = "\n".join(path.read_text() for path in (site.data / "logs").iterdir())
    assert "Traceback" not in logs, logs


@pytest.fixture(scope="module")
def visitors(browser: Browser, site: Site) -> Visitors:
    return Visitors(browser, f"http://127.0.0.1:{site.port}")


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"settings-{name}.png")


def settings(visit: Visit, section: str, **kind: Any) -> Page:  # noqa: ANN401
    page = visit(f"/settings?section={section}", user="ada", **kind)
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    return page


def close(dialog: Locator) -> None:
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(dialog).to_have_count(0)


# The organisation.


@SCHEMES
def test_a_threshold_is_changed_shown_as_pending_and_then_as_done(visit: Visit, site: Site, scheme: str) -> None:
    value = {"light": 65, "dark": 70}[scheme]
    page = settings(visit, "organisation", scheme=scheme)
    card = page.locator(".st-key-card_health")
    expect(card.get_by_text("CPU counts in full up to")).to_be_visible()
    photograph(page, f"organisation-{scheme}")
    card.get_by_role("button", name="Change …").click()
    dialog = page.get_by_role("dialog")
    knee = dialog.get_by_role("textbox", name="CPU counts in full up to")
    knee.fill("a lot")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("'a lot' is not a number")).to_be_visible()
    knee.fill(str(value))
    photograph(page, f"organisation-form-{scheme}")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text(f"→ {value} %")).to_be_visible()
    photograph(page, f"organisation-confirm-{scheme}")
    asked = page.get_by_role("region", name="What you have asked for")
    with site.frozen_ingestor():
        dialog.get_by_role("button", name="Change 1 setting").click()
        expect(dialog.get_by_text("Pending: Sent; the database does not have it yet.")).to_be_visible()
        close(dialog)
        expect(asked).to_contain_text("Pending")
        expect(card.get_by_text(f"soon {value} %")).to_be_visible()
        photograph(page, f"organisation-pending-{scheme}")
        assert site.json("org", "configure", "home")["cpu_knee_percent"] != value
    expect(asked).to_contain_text("Done")
    expect(card.get_by_text(f"soon {value} %")).to_have_count(0)
    photograph(page, f"organisation-done-{scheme}")
    page.get_by_role("button", name="Clear this list").click()
    expect(asked).to_have_count(0)
    assert site.json("org", "configure", "home")["cpu_knee_percent"] == value


# Who may not.


@pytest.mark.parametrize("user", ["olga", "vera"])
def test_who_is_no_admin_finds_no_link_and_a_clear_refusal(visit: Visit, user: str) -> None:
    page = visit("/settings", user=user)
    expect(page.get_by_role("heading", name="This page is not for your role")).to_be_visible()
    expect(page.get_by_text("Who may open Settings: Admin.")).to_be_visible()
    assert page.get_by_role("link", name="Settings").count() == 0
    photograph(page, f"refused-{user}")
