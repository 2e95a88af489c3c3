"""From `dashfleet up` to a mail in a mailbox and a POST at a webhook, following only the page."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from screens import grave, photograph, settled
from servers import free_port
from service_stubs import HttpStub, http_stub
from smtp_stub import running_mailbox
from sqlalchemy import create_engine
from waiting import wait_until

from runtime.state_directory import StateDirectory
from schemas.people.destinations import Destination, find_destination, open_url
from schemas.people.secret_box import SecretBox

COMMAND = [sys.executable, "-P", "-m", "dashfleet"]


@dataclass
class Installation:
    """A state directory whose parts run. `url`: of its dashboard."""

    data: Path
    url: str


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    data, port = tmp_path_factory.mktemp("notifications"), free_port()
    environment = {**os.environ, "DASHFLEET_NOTIFIER_ALLOW_PRIVATE": "true", "DASHFLEET_DATA": str(data)}
    subprocess.run([*COMMAND, "setup"], check=True, env=environment, capture_output=True)
    found = Installation(data, f"http://127.0.0.1:{port}")
    ports = ["--broker-port", str(free_port()), "--dashboard-port", str(port)]
    with (data / "up.log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, "up", *ports, "--interval", "1"], env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: "Press Ctrl-C" in (data / "up.log").read_text(), seconds=90, what="dashfleet up")
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def signed_in(browser: Browser, installation: Installation) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(installation.url)
    page.locator("#name").fill("admin")
    page.locator("#password").fill((installation.data / "secrets" / "first-password").read_text().strip())
    page.locator("#password").press("Enter")
    page.get_by_role("link", name="Notifications").click()
    yield page
    context.close()


def add(page: Page, name: str, service: str, values: dict[str, str]) -> Locator:
    """Fill in the form of a destination, and open it."""
    page.get_by_role("button", name="Add destination …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill(name)
    dialog.get_by_label("Service").click()
    page.get_by_role("option", name=service, exact=True).click()
    for label, value in values.items():
        if label == "Encryption":
            dialog.get_by_label(label).click()
            page.get_by_role("option", name=value, exact=True).click()
        else:
            dialog.get_by_label(label, exact=True).fill(value)
            dialog.get_by_label(label, exact=True).press("Tab")
    dialog.get_by_role("button", name="Add destination").click()
    expect(dialog.get_by_text("Done")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("gridcell", name=re.compile(f"^{name}")).or_(page.get_by_text(name, exact=True)).first.click()
    return dialog


@contextmanager
def many_processes(number: int) -> Iterator[None]:
    """Run processes that do nothing."""
    running = [subprocess.Popen(["sleep", "600"]) for _ in range(number)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
        for each in running:
            each.wait()


def add_rule(page: Page, title: str, metric: str, threshold: float) -> None:
    """Add a rule without durations on the page of rules, and return to the destinations."""
    page.get_by_role("link", name="Rules").click()
    page.get_by_role("button", name="New rule …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Title").fill(title)
    dialog.get_by_role("combobox", name=re.compile("Metric")).click()
    page.get_by_role("option", name=metric, exact=True).click()
    for label, value in {"Value": f"{threshold:g}", "Begins after (s)": "0", "Ends after (s)": "0"}.items():
        dialog.get_by_label(label, exact=True).fill(value)
        dialog.get_by_label(label, exact=True).press("Tab")
    dialog.get_by_role("button", name="Preview").click()
    dialog.get_by_role("button", name="Save rule").click()
    expect(dialog).to_contain_text("Done", timeout=60_000)
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="Notifications").click()


def keep_quiet_on_weekdays(page: Page, dialog: Locator) -> None:
    """Set quiet hours that begin from Monday to Friday, in the open dialog of a destination, and close it."""
    dialog.get_by_role("button", name="Preferences …").click()
    dialog.get_by_text("Quiet hours").click()
    for day in ("Sat", "Sun"):
        dialog.get_by_role("button", name=day, exact=True).click()
    settled(page)
    assert grave(page) == []
    dialog.get_by_text("Days on which they begin").scroll_into_view_if_needed()
    photograph(page, "notifications-quiet-hours")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("Done")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def stored(installation: Installation, name: str) -> Destination:
    people = create_engine(StateDirectory(installation.data).people_url)
    try:
        return find_destination(people, "home", name)
    finally:
        people.dispose()


def stored_url(installation: Installation, name: str) -> str:
    """Return the URL of a destination, with its secrets."""
    key = StateDirectory(installation.data).secret("notification-key")
    return open_url(SecretBox.load(key), stored(installation, name))


def kinds(stub: HttpStub) -> list[str]:
    return [alert["kind"] for each in stub.received for alert in json.loads(each.body)["alerts"]]


def test_a_mail_and_a_post_arrive_after_following_the_page_alone(browser: Browser, installation: Installation) -> None:
    with running_mailbox() as mailbox, http_stub() as stub, signed_in(browser, installation) as page:
        photograph(page, "notifications-empty")
        dialog = add(page, "hook", "Webhook", {"URL": f"http://127.0.0.1:{stub.port}/hook"})
        dialog.get_by_role("button", name="Send test message").click()
        expect(dialog.get_by_text("Accepted: 200 OK")).to_be_visible()
        dialog.get_by_role("button", name="Close").click()
        form = {"Recipient": "ada@example.org", "Sender": "fleet@example.org", "Mail server": "127.0.0.1"}
        form |= {"Port (optional)": str(mailbox.port), "Encryption": "none"}
        dialog = add(page, "mail", "Mail", form)
        dialog.get_by_role("button", name="Send test message").click()
        expect(dialog.get_by_text("queued as 4711")).to_be_visible()
        dialog.get_by_role("button", name="Close").click()
        add_rule(page, "Too many processes", "Processes", len(psutil.pids()) + 200)
        with many_processes(400):
            wait_until(lambda: "problem" in kinds(stub), seconds=60)
            wait_until(lambda: any("Too many processes" in each for each in mailbox.subjects), seconds=60)
        wait_until(lambda: "recovery" in kinds(stub), seconds=60)
        wait_until(lambda: any(each.startswith("Resolved") for each in mailbox.subjects), seconds=60)
        assert kinds(stub) == ["problem", "recovery"]
        assert mailbox.mails[0][0] == ["ada@example.org"]
        page.get_by_text("Deliveries", exact=True).click()
        expect(page.get_by_text("Test message").first).to_be_visible()
        expect(page.get_by_text("Failed", exact=True)).to_have_count(0)


def test_a_secret_is_kept_that_is_left_with_tab(browser: Browser, installation: Installation) -> None:
    with http_stub() as stub, signed_in(browser, installation) as page:
        page.get_by_role("button", name="Add destination …").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name", exact=True).fill("keys only")
        dialog.get_by_label("Service").click()
        page.get_by_role("option", name="Other", exact=True).click()
        secret = dialog.get_by_label("URL of Apprise", exact=True)
        secret.press_sequentially(f"json://127.0.0.1:{stub.port}/w")
        for _ in range(3):  # the button that shows the secret, Cancel, Add destination
            page.keyboard.press("Tab")
        expect(dialog.get_by_role("button", name="Add destination")).to_be_focused()
        page.keyboard.press("Enter")
        expect(dialog.get_by_text("Done")).to_be_visible()
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_have_count(0)
        assert stored_url(installation, "keys only") == f"json://127.0.0.1:{stub.port}/w"
        page.get_by_role("gridcell", name=re.compile("^keys only")).or_(page.get_by_text("keys only")).first.click()
        dialog.get_by_role("button", name="Change URL …").click()
        values = {"Recipient": "ada@example.org", "Sender": "fleet@example.org", "Mail server": "127.0.0.1"}
        for label, value in (values | {"User name (optional)": "ada", "Password (optional)": "s3cr3t"}).items():
            dialog.get_by_label(label, exact=True).press_sequentially(value)
            page.keyboard.press("Tab")
        dialog.get_by_role("button", name="Change URL").click()
        expect(dialog.get_by_text("Done")).to_be_visible()
        assert stored_url(installation, "keys only").startswith("mailtos://ada:s3cr3t@127.0.0.1")


def test_a_rejected_test_shows_the_services_answer_and_a_route_is_added_and_removed(
    browser: Browser, installation: Installation
) -> None:
    with http_stub() as stub, signed_in(browser, installation) as page:
        stub.answer = lambda _: (404, {}, b"no such channel")
        dialog = add(page, "broken", "Webhook", {"URL": f"http://127.0.0.1:{stub.port}/t0k3n"})
        dialog.get_by_role("button", name="Send test message").click()
        expect(dialog.get_by_text("no such channel")).to_be_visible()
        photograph(page, "notifications-destination")
        assert grave(page) == []
        dialog.get_by_role("button", name="Routes …").click()
        dialog.get_by_label("Labels").fill("site")
        dialog.get_by_role("button", name="Add route").click()
        expect(dialog.get_by_text("Labels are written as key=value")).to_be_visible()
        dialog.get_by_label("Labels").fill("site=nantes")
        dialog.get_by_role("button", name="Add route").click()
        expect(dialog.get_by_text("site=nantes", exact=True)).to_be_visible()
        dialog.get_by_role("button", name="Remove").click()
        expect(dialog.get_by_text("No routes")).to_be_visible()
        dialog.get_by_role("button", name="Back").click()
        keep_quiet_on_weekdays(page, dialog)
        (window,) = stored(installation, "broken").preferences.quiet
        assert (window.days, window.start, window.end) == (frozenset(range(5)), "22:00", "07:00")
        page.get_by_role("gridcell", name=re.compile("^broken")).or_(
            page.get_by_text("broken", exact=True)
        ).first.click()
        dialog.get_by_role("button", name="Remove …").click()
        dialog.get_by_role("button", name="Remove", exact=True).click()
        expect(dialog.get_by_text("Done")).to_be_visible()
        assert "t0k3n" not in page.content()
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_have_count(0)
        page.emulate_media(color_scheme="dark")
        for section in ("Personal", "Templates", "Deliveries", "Organisation"):
            page.get_by_role("radio", name=section).or_(page.get_by_text(section, exact=True)).first.click()
            settled(page)
            photograph(page, f"notifications-{section.lower()}-dark")
            assert grave(page) == []
        page.set_viewport_size({"width": 390, "height": 844})
        page.get_by_role("button", name="Add destination …").click()
        photograph(page, "notifications-phone")
