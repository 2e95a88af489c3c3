"""A dashboard as a process of its own over a seeded fleet, and Chromium."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from answering import INGESTOR, Answerer, answering
from brokers import PASSWORD as SECRET
from brokers import RunningBroker, embedded_broker
from dashboards import Dashboard, chromium, serving
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
)
from seeding import ACTIONS, INFO, SERIES_METRICS, Fleet
from visiting import PASSWORD, Scheme, Size, Visitors

from broker.access.policy import Principal, Role
from broker.client.request_client import DASHBOARD
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import add_user
from runtime.settings.secret_files import write_secret
from runtime.urls import sqlite_url
from schemas.contract.signing import new_key
from schemas.database.engine import open_engine, upgrade

TICKER = Principal(Role.MACHINE, "lively", "ticker")
"""A machine that a test speaks for."""


def now() -> int:
    return time.time_ns() // 1_000_000


def seeded(directory: Path) -> Fleet:
    """Seed a typical fleet: most machines healthy, some not, and one hostile."""
    engine = open_engine(sqlite_url(directory / "fleet.db"))
    upgrade(engine)
    fleet = Fleet(engine, now=now())
    able = {**INFO, "actions": ACTIONS}
    for i, key in enumerate(fleet.crowd(58, info=able)):
        fleet.minutes(key, [5 + i + 12 * math.sin(minute / 4 + i) if minute % 19 else None for minute in range(30)])
    busy = fleet.machine(
        "db-01",
        info=able,
        hostname="db-01.example.org",
        cpu_percent=97.0,
        memory_percent=91.0,
        disk_percent=55.0,
        labels={"role": "database", "site": "paris", "floor": "2"},
    )
    fleet.minutes(busy, [40.0 + 2 * minute if not 10 <= minute < 16 else None for minute in range(30)])
    fleet.machine("db-02", info=able, hostname="db-02.example.org", cpu_percent=88.0, memory_percent=81.0, os="Ubuntu")
    full = fleet.machine(
        "nas",
        info={**INFO, "actions": ACTIONS[:2], "metrics": SERIES_METRICS},
        disk_percent=98.6,
        os="FreeBSD",
        os_version="14.1",
    )
    fleet.series(full)
    fleet.machine("till-7", hostname="kassa7", presence="offline", reason="lost", since_at=fleet.now - 14_400_000)
    fleet.machine("build-3", presence="stale", since_at=fleet.now - 70_000, last_seen_at=fleet.now - 90_000)
    fleet.machine("unsure", verified=False)
    evil = fleet.machine(
        "evil",
        hostname="<img src=x onerror=alert(1)>![x](http://evil.example/x.png)",
        info={**INFO, "metrics": [{"name": "fan_rpm", "unit": "<b>", "title": "<img src=y onerror=alert(4)>"}]},
        os="<script>alert(2)</script>",
        labels={"a": "<b onclick=alert(3)>b</b>"},
    )
    times = [fleet.now - age * 10_000 for age in range(300, 0, -1)]
    fleet.samples(evil, times, cpu_percent=50.0, extra={"fan_rpm": 1000.0})
    paris = fleet.machine(
        "web-paris", hostname="web-paris.example.org", cpu_percent=63.0, memory_percent=71.0, labels={"site": "paris"}
    )
    fleet.a_day(paris, hours=6)
    fleet.hours(paris, 30 * 24, gap=range(200, 272))
    fleet.stream(paris, "1-20160", highest_seq=20_160, late=212)
    fleet.transition(paris, fleet.now - 9_000_000, "online", "offline", "lost")
    fleet.transition(paris, fleet.now - 7_300_000, "offline", "online", "connected")
    fleet.alert(evil, "odd", fleet.now - 60_000, title="<img src=z onerror=alert(5)>", detail="<b>odd</b>")
    fleet.alert(busy, "cpu", fleet.now - 900_000, title="High CPU usage", detail="97 %")
    fleet.alert(full, "disk", fleet.now - 7_200_000, title="Disk nearly full", detail="99 %", severity="critical")
    away = {"title": "Machine offline", "detail": "the connection was lost", "severity": "critical"}
    fleet.alert(paris, "away", fleet.now - 8_900_000, ended_at=fleet.now - 7_300_000, **away)
    bad = {"reason": "invalid", "detail": "vitals.cpu_percent: Input should be less than or equal to 100"}
    fleet.dead_letter("evil", payload='{"seq": "<img src=y onerror=alert(6)>"}', size_bytes=70_000, **bad)
    for age in range(60):
        fleet.dead_letter("db-02", received_at=fleet.now - 60_000 * (60 - age), payload='{"v": 1}', **bad)
    fleet.incident("cloned-identity", org="home", machine="<b>db-02</b>")
    fleet.incident("mass-silence", org="home", ended_at=fleet.now, machines=12, of=60, names=["web-001", "web-002"])
    fleet.incident("blind", ended_at=fleet.now)
    fleet.beat(fleet.now + 86_400_000)
    return fleet


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fleet")
    accounts = open_auth_database(sqlite_url(directory / "auth.db"))
    add_user(accounts, "admin", PASSWORD, "admin", "home")
    add_user(accounts, "newcomer", PASSWORD, "admin", "fresh")
    add_user(accounts, "keyless", PASSWORD, "admin", "keyless")
    add_user(accounts, "nora", PASSWORD, "operator", "late")
    add_user(accounts, "alone", PASSWORD, "admin", "empty")
    add_user(accounts, "olga", PASSWORD, "operator", "home")
    add_user(accounts, "vera", PASSWORD, "viewer", "home")
    add_user(accounts, "lara", PASSWORD, "viewer", "lively")
    add_user(accounts, "kim", PASSWORD, "admin", "keys")
    add_user(accounts, "kit", PASSWORD, "viewer", "keys")
    accounts.dispose()
    write_secret(directory / "secrets" / "dashboard", SECRET)
    for org in ("home", "keys"):
        write_secret(directory / "secrets" / "signing" / org, new_key())
    return directory


@pytest.fixture(scope="session")
def fleet(directory: Path) -> Iterator[Fleet]:
    fleet = seeded(directory)
    yield fleet
    fleet.engine.dispose()


@pytest.fixture(scope="session")
def broker() -> Iterator[RunningBroker]:
    """A dashboard that starts before the browser: after Playwright's event loop no other one can run in this thread."""
    with embedded_broker({DASHBOARD: SECRET, INGESTOR: SECRET, TICKER: SECRET}) as broker:
        yield broker


@pytest.fixture(scope="session")
def ingestor(fleet: Fleet, broker: RunningBroker) -> Iterator[Answerer]:
    """Answer the dashboard's requests until the end of the session."""
    with answering(fleet.engine, broker.address, SECRET, now=now) as answerer:
        yield answerer


@pytest.fixture
def answerer(ingestor: Answerer) -> Iterator[Answerer]:
    """An ingestor with machines whose answers a test sets. The next test finds nothing of them."""
    ingestor.forget()
    yield ingestor
    ingestor.forget()


@pytest.fixture(scope="session")
def dashboard(ingestor: Answerer, directory: Path, broker: RunningBroker) -> Iterator[Dashboard]:
    assert ingestor
    with serving(directory, f"mqtt://127.0.0.1:{broker.port}", more={"proxies": ["127.0.0.1"]}) as dashboard:
        yield dashboard


@pytest.fixture(scope="session")
def browser(dashboard: Dashboard) -> Iterator[Browser]:
    assert dashboard
    with chromium() as browser:
        yield browser


Open = Callable[..., Page]


@pytest.fixture(scope="session")
def visitors(browser: Browser, dashboard: Dashboard) -> Visitors:
    return Visitors(browser, dashboard.url)


@pytest.fixture
def visit(visitors: Visitors) -> Iterator[Open]:
    """Open a page, signed in. At the end: no error in any page, and no request to any other host."""
    with watched(visitors) as visit:
        yield visit


@contextmanager
def watched(visitors: Visitors) -> Iterator[Open]:
    """Open pages of any dashboard, with the same checks at the end."""
    opened: list[BrowserContext] = []
    wrong: list[str] = []

    def refuse(dialog: Dialog) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def hear(said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            wrong.append(said.text)

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda request: _check(request.url, visitors.url, wrong))
        page.on("dialog", refuse)
        page.on("console", hear)

    def visit(path: str = "/", *, user: str = "admin", scheme: Scheme = "light", size: Size = (1440, 900)) -> Page:
        context = visitors.context(user, scheme, size)
        context.on("page", watch)
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(visitors.url + path)
        return page

    yield visit
    for context in opened:
        context.remove_listener("page", watch)
    for context in set(opened):
        visitors.leave(context)
    assert not wrong


def _check(url: str, ours: str, wrong: list[str]) -> None:
    if not url.startswith((ours, ours.replace("http", "ws"), "data:", "blob:")):
        wrong.append(f"request: {url}")


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[Dashboard]]:
    """Serve a separate dashboard for one test."""
    return serving


@pytest.fixture(scope="session")
def visit_at() -> Callable[[Browser, str], AbstractContextManager[Open]]:
    """Open pages of the separate dashboard of a test."""

    @contextmanager
    def visit_at(browser: Browser, url: str) -> Iterator[Open]:
        visitors = Visitors(browser, url)
        with watched(visitors) as visit:
            yield visit
        visitors.close()

    return visit_at
