"""The settings page end to end: `dashfleet up`, a real browser, and the database afterwards."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from screens import grave
from servers import free_port, stop
from sqlalchemy import select
from visiting import PASSWORD, Visitors, sign_in
from waiting import wait_until

from broker.client.mqtt import Mqtt
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import add_user
from runtime.settings.address import ServerAddress
from runtime.settings.secret_files import write_secret
from runtime.urls import sqlite_url
from schemas.contract import topics
from schemas.contract.enrolment import Token
from schemas.contract.signing import key_id, public_key
from schemas.database import tables
from schemas.database.engine import open_engine

Visit = Callable[..., Page]
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
pytestmark = pytest.mark.timeout(300)
"""The first test waits for the start of all parts."""

LIGHT = pytest.mark.parametrize("scheme", ["light"])
DARK = pytest.mark.parametrize("scheme", ["dark"])
BOTH = pytest.mark.parametrize("scheme", ["light", "dark"])


class Watching:
    """An API client's connection to the broker."""

    def __init__(self, address: ServerAddress, username: str, secret: str) -> None:
        topic = topics.TELEMETRY.filter(org="home")
        self._transport = Mqtt(address, username=username, password=secret, subscriptions=[(topic, 1)])

    def connected(self) -> bool:
        self._transport.receive(100, 0.05)
        return self._transport.connected

    def close(self) -> None:
        self._transport.close()


@dataclass
class Site:
    """`dashfleet up` in a state directory."""

    data: Path
    port: int = field(default_factory=free_port)
    broker_port: int = field(default_factory=free_port)
    said: list[str] = field(default_factory=list)
    pid: int = 0

    def run(self, *words: str, typed: str | None = None) -> str:
        """Run a command and return its output."""
        argv = [sys.executable, "-m", "dashfleet", *words, "--data", str(self.data)]
        return subprocess.run(argv, input=typed, capture_output=True, text=True, timeout=60, check=True).stdout

    @contextmanager
    def frozen_ingestor(self) -> Iterator[None]:
        """Suspend the ingestor meanwhile."""
        (ingestor,) = [each for each in psutil.Process(self.pid).children() if "ingestor" in each.cmdline()]
        ingestor.suspend()
        try:
            yield
        finally:
            ingestor.resume()

    def watch(self, username: str, secret: str) -> "Watching":
        """Return an API client that has connected to the broker."""
        watching = Watching(ServerAddress(host="127.0.0.1", port=self.broker_port, tls=False), username, secret)
        wait_until(watching.connected, seconds=60, what="the program's connection")
        return watching

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
        wait_until(lambda: "Press Ctrl-C" in "\n".join(site.said), seconds=200, what="dashfleet up")
        people = open_auth_database(sqlite_url(site.data / "people.db"))
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
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    expect(dialog).to_have_count(0)


# The organisation.


@BOTH
def test_a_threshold_is_changed_shown_as_pending_and_then_as_done(visit: Visit, site: Site, scheme: str) -> None:
    value = {"light": 65, "dark": 70}[scheme]
    page = settings(visit, "organisation", scheme=scheme)
    card = page.locator(".st-key-card_health")
    expect(card.get_by_text("CPU penalty starts at")).to_be_visible()
    photograph(page, f"organisation-{scheme}")
    card.get_by_role("button", name="Change …").click()
    dialog = page.get_by_role("dialog")
    knee = dialog.get_by_role("textbox", name="CPU penalty starts at")
    knee.fill("a lot")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("'a lot' is not a number")).to_be_visible()
    knee.fill(str(value))
    photograph(page, f"organisation-form-{scheme}")
    assert grave(page) == []
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text(f"→ {value} %")).to_be_visible()
    expect(dialog.get_by_text(re.compile("No machine would change|would become|would change to"))).to_be_visible()
    photograph(page, f"organisation-confirm-{scheme}")
    asked = page.get_by_role("region", name="Your requests")
    with site.frozen_ingestor():
        dialog.get_by_role("button", name="Change 1 setting").click()
        expect(dialog.get_by_text("Pending: Sent, not yet in the database.")).to_be_visible()
        close(dialog)
        expect(asked).to_contain_text("Pending")
        expect(card.get_by_text(f"soon {value} %")).to_be_visible()
        photograph(page, f"organisation-pending-{scheme}")
        assert site.json("org", "configure", "home")["cpu_knee_percent"] != value
    expect(asked).to_contain_text("Done")
    expect(card.get_by_text(f"soon {value} %")).to_have_count(0)
    photograph(page, f"organisation-done-{scheme}")
    page.get_by_role("button", name="Dismiss finished requests").click()
    expect(asked).to_have_count(0)
    assert site.json("org", "configure", "home")["cpu_knee_percent"] == value


# Tokens.


@LIGHT
def test_a_token_is_made_shown_once_enrols_a_machine_and_is_ended(
    visit: Visit, site: Site, scheme: str, tmp_path: Path
) -> None:
    page = settings(visit, "tokens", scheme=scheme)
    photograph(page, f"tokens-before-{scheme}")
    page.get_by_role("button", name="New token …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("spinbutton").fill("2")
    photograph(page, f"tokens-form-{scheme}")
    dialog.get_by_role("button", name="Create token").click()
    expect(dialog.get_by_text("it will not be shown again")).to_be_visible()
    photograph(page, f"tokens-made-{scheme}")
    assert grave(page) == []
    token = Token.parse(dialog.locator("code").first.inner_text())
    line = dialog.locator("code").nth(1).inner_text()
    assert copied(page, dialog.get_by_test_id("stCode").nth(1)) == line
    expect(dialog.get_by_role("heading", name="0 of 2 arrived")).to_be_visible()
    enrol_by(line, site, tmp_path, str(token))
    expect(dialog.locator(".df-outcomes tr")).to_have_count(1)
    close(dialog)
    row = page.get_by_role("table", name="Enrolment tokens").get_by_role("row", name=re.compile(token.name))
    expect(row).to_contain_text("1 of 2")
    expect(row).to_contain_text("ada")
    photograph(page, f"tokens-{scheme}")
    assert token.secret not in page.content()
    row.get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Revoke", exact=True)).to_be_visible()
    photograph(page, f"tokens-revoke-{scheme}")
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(dialog.get_by_text("Done")).to_be_visible()
    close(dialog)
    expect(row).to_contain_text("Revoked")
    stored = b"".join(path.read_bytes() for path in site.data.rglob("*") if path.is_file())
    assert token.name.encode() in stored
    assert token.secret.encode() not in stored


def copied(page: Page, code: Locator) -> str:
    """Return the clipboard after a click on the copy button."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code.hover()
    code.get_by_role("button").click()
    return str(page.evaluate("navigator.clipboard.readText()"))


def enrol_by(line: str, site: Site, place: Path, token: str) -> None:
    """Enrol with the addresses of the install command filled in, and enter the token at the prompt.

    tests/browser/test_first_machine.py runs the whole command.
    """
    command, words = line.split(" -s -- ")
    base = re.fullmatch(r"curl -fsSL (http://127\.0\.0\.1:\d+)/install\.sh \| sudo sh", command)
    assert base is not None, line
    assert shlex.split(words) == ["--from", base[1], "--server", "mqtts://SERVER"]
    address = ["--server", f"mqtt://127.0.0.1:{site.broker_port}", "--machine", f"new-{place.name[-1]}"]
    argv = [sys.executable, "-m", "dashfleet", "agent", "enrol", *address, "--data", str(place)]
    done = subprocess.run(argv, input=token, capture_output=True, text=True, timeout=60, check=True)
    assert "Enrolled as home/new-" in done.stdout


# API clients.


@DARK
def test_a_program_is_let_in_gets_another_secret_and_is_revoked(visit: Visit, site: Site, scheme: str) -> None:
    name = f"grafana-{scheme}"
    page = settings(visit, "programs", scheme=scheme)
    page.get_by_role("button", name="Add client …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("<b>Not a name</b>")
    dialog.get_by_role("button", name="Add client").click()
    expect(dialog.get_by_text("A name is 1 to 63 lower-case letters")).to_be_visible()
    dialog.get_by_role("textbox", name="Name").fill(name)
    dialog.get_by_role("button", name="Add client").click()
    expect(dialog.get_by_text(f"Done: {name}, a reader")).to_be_visible()
    photograph(page, f"programs-made-{scheme}")
    first = dialog.locator("code").first.inner_text()
    assert dialog.locator("code").nth(1).inner_text() == f"home._{name}"
    close(dialog)
    watching = site.watch(f"home._{name}", first)
    row = page.get_by_role("table", name="API clients").get_by_role("row", name=re.compile(name))
    expect(row).to_contain_text("Valid")
    photograph(page, f"programs-{scheme}")
    row.get_by_role("link").click()
    dialog.get_by_role("button", name="New secret …").click()
    expect(dialog.get_by_role("button", name="Create secret")).to_be_visible()
    photograph(page, f"programs-rotate-{scheme}")
    assert grave(page) == []
    dialog.get_by_role("button", name="Create secret").click()
    expect(dialog.get_by_text("it will not be shown again")).to_be_visible()
    second = dialog.locator("code").first.inner_text()
    assert second != first
    close(dialog)
    row.get_by_role("link").click()
    expect(dialog.get_by_text("valid until")).to_be_visible()
    dialog.get_by_role("button", name="Revoke …").click()
    expect(dialog.get_by_role("button", name="Revoke", exact=True)).to_be_visible()
    photograph(page, f"programs-revoke-{scheme}")
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(dialog.get_by_text("Done")).to_be_visible()
    close(dialog)
    expect(row).to_contain_text("Revoked")
    wait_until(lambda: not watching.connected(), seconds=60, what="the revoked program's end")
    watching.close()


def test_what_the_ingestor_refuses_is_shown_with_its_reason_and_no_secret(visit: Visit, site: Site) -> None:
    site.run("principal", "add", "taken", "--role", "reader")
    page = settings(visit, "programs")
    page.get_by_role("button", name="Add client …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("taken")
    dialog.get_by_role("button", name="Add client").click()
    expect(dialog.get_by_text("Refused: home._taken exists already")).to_be_visible()
    photograph(page, "programs-refused-light")
    assert dialog.locator("code").count() == 0
    close(dialog)
    expect(page.get_by_role("region", name="Your requests")).to_contain_text("Refused")


# API tokens.


def machines_over_http(site: Site, token: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of the answer to a program with this token."""
    request = urllib.request.Request(f"http://127.0.0.1:{site.port}/api/v1/machines")
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@LIGHT
def test_an_api_token_is_made_reads_over_http_and_is_revoked(visit: Visit, site: Site, scheme: str) -> None:
    name = f"reports-{scheme}"
    page = settings(visit, "api-tokens", scheme=scheme)
    expect(page.get_by_role("button", name="Add API token …")).to_be_visible()
    photograph(page, f"api-tokens-before-{scheme}")
    page.get_by_role("button", name="Add API token …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("<b>Not a name</b>")
    dialog.get_by_role("button", name="Add token", exact=True).click()
    expect(dialog.get_by_text("the name of a token is 1 to 63 lower-case letters")).to_be_visible()
    photograph(page, f"api-tokens-new-{scheme}")
    assert grave(page) == []
    dialog.get_by_role("textbox", name="Name").fill(name)
    dialog.get_by_role("button", name="Add token", exact=True).click()
    expect(dialog.get_by_text("it will not be shown again")).to_be_visible()
    photograph(page, f"api-tokens-made-{scheme}")
    token = dialog.locator("code").inner_text().strip()
    close(dialog)
    status, found = machines_over_http(site, token)
    assert (status, found["trouble"]) == (200, "")
    assert found["machines"]
    row = page.get_by_role("table", name="API tokens").get_by_role("row", name=re.compile(name))
    expect(row).to_contain_text("Valid")
    photograph(page, f"api-tokens-{scheme}")
    row.get_by_role("link").click()
    dialog.get_by_role("button", name="Revoke …").click()
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(dialog.get_by_text("Done")).to_be_visible()
    close(dialog)
    expect(row).not_to_be_visible()
    assert machines_over_http(site, token)[0] == 401


# Users.


@LIGHT
def test_a_person_is_added_gets_another_role_and_is_removed(visit: Visit, visitors: Visitors, scheme: str) -> None:
    name = f"bob-{scheme}"
    page = settings(visit, "people", scheme=scheme)
    people = page.get_by_role("table", name="Users")
    expect(people.get_by_role("row", name=re.compile("ada"))).to_contain_text("you")
    photograph(page, f"people-{scheme}")
    page.get_by_role("button", name="Add user …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="User name").fill("<img src=x onerror=alert(1)>")
    dialog.get_by_role("button", name="Add user", exact=True).click()
    expect(dialog.get_by_text("a user's name is 1 to 64")).to_be_visible()
    dialog.get_by_role("textbox", name="User name").fill(name)
    dialog.get_by_role("button", name="Add user", exact=True).click()
    expect(dialog.get_by_text("it will not be shown again")).to_be_visible()
    photograph(page, f"people-added-{scheme}")
    password = dialog.locator("code").inner_text()
    close(dialog)
    theirs = visitors.browser.new_context(storage_state=sign_in(visitors.browser, visitors.url, name, password))
    guest = theirs.new_page()
    guest.goto(visitors.url)
    expect(guest.get_by_role("link", name="Fleet")).to_be_visible()
    row = people.get_by_role("row", name=re.compile(name))
    expect(row).to_contain_text("1 session")
    row.get_by_role("link").click()
    expect(dialog.get_by_role("button", name="Change role …")).to_be_visible()
    photograph(page, f"people-one-{scheme}")
    assert grave(page) == []
    dialog.get_by_role("button", name="Change role …").click()
    dialog.get_by_text("Operator: runs").click()
    dialog.get_by_role("button", name="Change role", exact=True).click()
    expect(dialog.get_by_text(f"Done: {name}: Operator")).to_be_visible()
    close(dialog)
    expect(row).to_contain_text("Operator")
    expect(guest).to_have_url(re.compile("/sign-in"))
    theirs.close()
    row.get_by_role("link").click()
    dialog.get_by_role("button", name="Remove …").click()
    expect(dialog.get_by_role("button", name="Remove user", exact=True)).to_be_visible()
    photograph(page, f"people-remove-{scheme}")
    dialog.get_by_role("button", name="Remove user", exact=True).click()
    expect(dialog.get_by_text(f"Done: {name}")).to_be_visible()
    close(dialog)
    expect(row).to_have_count(0)


def test_an_admin_cannot_take_themselves_out(visit: Visit) -> None:
    page = settings(visit, "people")
    page.get_by_role("table", name="Users").get_by_role("row", name=re.compile("ada")).get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("This is you.")).to_be_visible()
    expect(dialog.get_by_role("button")).to_have_text(["Close"])


# Signing keys.


@DARK
def test_a_key_is_made_obeyed_and_revoked(visit: Visit, site: Site, scheme: str, tmp_path: Path) -> None:
    page = settings(visit, "keys", scheme=scheme)
    keys = page.get_by_role("table", name="Signing keys")
    expect(keys.get_by_role("row", name=re.compile("used by this dashboard"))).to_have_count(1)
    page.get_by_role("button", name="Add key …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name, such as its owner").fill(f"<b>{scheme}</b>")
    dialog.get_by_text("Elsewhere: I have its public key").click()
    dialog.get_by_role("textbox", name="Public key").fill("not a key")
    dialog.get_by_role("button", name="Add key").click()
    expect(dialog.get_by_text("A public key is 64 hexadecimal digits.")).to_be_visible()
    dialog.get_by_text("Here: it is shown once").click()
    expect(dialog.get_by_role("textbox", name="Public key")).to_have_count(0)
    photograph(page, f"keys-form-{scheme}")
    assert grave(page) == []
    dialog.get_by_role("button", name="Add key").click()
    expect(dialog.get_by_text("it will not be shown again")).to_be_visible()
    photograph(page, f"keys-made-{scheme}")
    seed = dialog.locator("code").inner_text()
    close(dialog)
    id_ = key_id(public_key(seed))
    row = keys.get_by_role("row", name=re.compile(id_))
    expect(row).to_contain_text(f"<b>{scheme}</b>")
    photograph(page, f"keys-{scheme}")
    assert seed.encode() not in b"".join(path.read_bytes() for path in site.data.rglob("*") if path.is_file())
    write_secret(tmp_path / "key", seed)
    machine = next(row["machine"] for row in site.json("machines") if row["presence"] == "online")
    wait_until(lambda: id_ in obeyed(site, machine), seconds=60, what="the machine obeys the key")
    site.run("act", "ping", machine, "--key", str(tmp_path / "key"), "--wait")
    row.get_by_role("link").click()
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(dialog.get_by_text(f"Done: revoked {id_}")).to_be_visible()
    close(dialog)
    expect(row).to_contain_text("Revoked")
    wait_until(lambda: id_ not in obeyed(site, machine), seconds=60, what="the machine obeys the key no more")


def obeyed(site: Site, machine: str) -> list[str]:
    """Return the keys that a machine reports to trust."""
    engine = open_engine(sqlite_url(site.data / "dashfleet.db"), read_only=True)
    query = select(tables.machine.c.info).where(tables.machine.c.name == machine)
    with engine.connect() as connection:
        info = connection.execute(query).scalar_one()
    engine.dispose()
    return list((info or {}).get("keys", ()))


# One machine.


@LIGHT
def test_a_machine_is_retired_by_an_operator_and_taken_back_by_an_admin(visit: Visit, site: Site, scheme: str) -> None:
    name = f"cellar-{scheme}"
    site.run("principal", "add", name, "--role", "machine")
    page = visit(f"/machine?id={name}", user="olga", scheme=scheme)
    page.get_by_role("tab", name="Decommission").click()
    page.get_by_role("button", name="Retire …").click()
    dialog = page.get_by_role("dialog")
    retire = dialog.get_by_role("button", name="Retire", exact=True)
    expect(retire).to_be_disabled()
    dialog.get_by_role("textbox").fill(name)
    expect(retire).to_be_enabled()
    photograph(page, f"machine-retire-{scheme}")
    assert grave(page) == []
    retire.click()
    expect(dialog.get_by_text(f"Done: {name}")).to_be_visible()
    close(dialog)
    expect(page.locator(".df-title").get_by_text("Retired")).to_be_visible()
    expect(page.get_by_text("An admin can return it to service.")).to_be_visible()
    assert page.get_by_role("button", name="Return to service …").count() == 0
    page = visit(f"/machine?id={name}", user="ada", scheme=scheme)
    page.get_by_role("tab", name="Decommission").click()
    page.get_by_role("button", name="Return to service …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Return to service", exact=True).click()
    expect(dialog.get_by_text(f"Done: {name}")).to_be_visible()
    close(dialog)
    expect(page.get_by_role("button", name="Retire …")).to_be_visible()


@DARK
def test_a_machine_is_configured_and_what_is_desired_stands_beside_what_it_reports(
    visit: Visit, site: Site, scheme: str
) -> None:
    (machine,) = [row["machine"] for row in site.json("machines") if row["presence"] == "online"]
    page = visit(f"/machine?id={machine}", user="olga", scheme=scheme)
    page.get_by_role("tab", name="Configuration").click()
    card = page.locator(".st-key-card_configuration")
    card.get_by_role("button", name="Configure …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Sampling interval").fill("soon")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("'soon' is not a duration")).to_be_visible()
    dialog.get_by_role("textbox", name="Sampling interval").fill("2s")
    dialog.get_by_role("textbox", name="Labels").fill(f"site=paris\nscheme={scheme}\nodd=<img src=x onerror=alert(1)>")
    photograph(page, f"machine-configure-{scheme}")
    assert grave(page) == []
    dialog.get_by_role("button", name="Continue").click()
    send = dialog.get_by_role("button", name="Configure: 1 machine")
    expect(send).to_be_enabled()
    photograph(page, f"machine-configure-confirm-{scheme}")
    send.click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible(timeout=60_000)
    close(dialog)
    labels = card.get_by_role("row", name=re.compile("Labels"))
    expect(labels.get_by_role("cell").nth(1)).to_contain_text(f"scheme: {scheme}")
    expect(labels).to_contain_text("In sync")
    expect(labels.get_by_role("cell").nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
    card.scroll_into_view_if_needed()
    photograph(page, f"machine-configuration-{scheme}")


@LIGHT
def test_a_label_gets_another_value_on_all_machines_that_have_it(visit: Visit, site: Site, scheme: str) -> None:
    (machine,) = [row["machine"] for row in site.json("machines") if row["presence"] == "online"]
    site.run("act", "configure", machine, f'labels={{"room": "{scheme}", "floor": "2"}}', "--wait")
    page = settings(visit, "labels", scheme=scheme)
    labels = page.get_by_role("table", name="Labels")
    labels.get_by_role("row", name=re.compile(f"room {scheme} 1")).get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill(f"new-{scheme}")
    dialog.get_by_role("button", name="Continue").click()
    send = dialog.get_by_role("button", name="Change 1 machine")
    expect(send).to_be_visible()
    photograph(page, f"labels-confirm-{scheme}")
    assert grave(page) == []
    send.click()
    expect(dialog.get_by_text("Sent to 1 machine.")).to_be_visible()
    photograph(page, f"labels-sent-{scheme}")
    close(dialog)
    expect(labels.get_by_role("row", name=re.compile(f"room new-{scheme} 1"))).to_be_visible(timeout=60_000)
    expect(labels.get_by_role("row", name=re.compile("floor 2 1"))).to_be_visible()
    photograph(page, f"labels-{scheme}")


def test_what_admins_did_is_on_the_activity_page_and_people_only_for_admins(visit: Visit, site: Site) -> None:
    site.run("user", "add", "zoe", "--generate")
    page = settings(visit, "organisation")
    page.locator(".st-key-card_presence").get_by_role("button", name="Change …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Long offline after no data for").fill("3d")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Change 1 setting").click()
    expect(dialog.get_by_text("Done")).to_be_visible()
    close(dialog)
    page.get_by_role("link", name="Activity").click()
    page.get_by_role("link", name="Settings changes").click()
    table = page.get_by_role("table", name="Timeline")
    changed = table.get_by_role("row", name=re.compile("time_to_live_seconds"))
    expect(changed.first).to_contain_text("Settings changed")
    expect(changed.first).to_contain_text("ada")
    expect(table.get_by_role("row", name=re.compile("zoe"))).to_contain_text("User added")
    photograph(page, "activity-changes-light")
    page.get_by_role("searchbox").fill("zoe")
    expect(table.get_by_role("row")).to_have_count(2)
    page = visit("/changes", user="vera")
    table = page.get_by_role("table", name="Timeline")
    expect(table.get_by_role("row", name=re.compile("time_to_live_seconds")).first).to_be_visible()
    assert table.get_by_text("zoe").count() == 0


def test_the_settings_fit_a_telephone(visit: Visit) -> None:
    page = settings(visit, "organisation", size=(390, 844))
    expect(page.get_by_role("button", name="Change …").first).to_be_visible()
    photograph(page, "organisation-telephone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".st-key-card_presence").get_by_role("button", name="Change …").click()
    expect(page.get_by_role("dialog").get_by_role("button", name="Continue")).to_be_visible()
    photograph(page, "organisation-form-telephone")


# Without permission.


@pytest.mark.parametrize("user", ["olga", "vera"])
def test_who_is_no_admin_finds_no_link_and_a_clear_refusal(visit: Visit, user: str) -> None:
    page = visit("/settings", user=user)
    expect(page.get_by_role("heading", name="You do not have access to this page")).to_be_visible()
    expect(page.get_by_text("Roles with access to Settings: Admin.")).to_be_visible()
    assert page.get_by_role("link", name="Settings").count() == 0
    photograph(page, f"refused-{user}")
