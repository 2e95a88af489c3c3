"""The dashboard behind nginx with the lines of the installation guide, and behind one that passes on too little."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from brokers import RunningBroker
from dashboards import Dashboard
from playwright.sync_api import Browser, Page, expect
from servers import free_port, listens, require_program, stop
from waiting import wait_until

Open = Callable[..., Page]
GUIDE = Path(__file__).parents[2] / "docs" / "installation.md"


@pytest.fixture(scope="module")
def served(
    serve: Callable[..., AbstractContextManager[Dashboard]],
    browser: Browser,
    directory: Path,
    broker: RunningBroker,
) -> Iterator[Dashboard]:
    """A dashboard below /fleet."""
    assert browser
    more = {"base_path": "/fleet", "proxies": ["127.0.0.1"]}
    with serve(directory, f"mqtt://127.0.0.1:{broker.port}", more=more) as dashboard:
        yield dashboard


@contextmanager
def nginx(directory: Path, *locations: str, to: int) -> Iterator[int]:
    """Run nginx with these locations in front of a port, and yield its port."""
    program, port = require_program("nginx", "nginx-light"), free_port()
    inside = "\n".join(locations).replace("http://127.0.0.1:8501", f"http://127.0.0.1:{to}")
    paths = "".join(
        f"{name}_temp_path {directory / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"""
        daemon off; pid {directory / "pid"}; error_log stderr;
        events {{}}
        http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; {inside} }} }}
        """
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(directory / "nginx.conf")], stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, what="nginx listening")
        assert process.poll() is None, (directory / "log").read_text()
        yield port
    finally:
        stop(process)


def documented(start: str) -> str:
    """Return the block of the guide that begins with these words."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = [each for each in blocks if each.startswith(start)]
    return str(block)


def test_below_a_path_everything_works_with_the_lines_of_the_guide(
    served: Dashboard,
    browser: Browser,
    tmp_path: Path,
    visit_at: Callable[[Browser, str], AbstractContextManager[Open]],
) -> None:
    with (
        nginx(tmp_path, documented("location = /fleet"), to=served.port) as port,
        visit_at(browser, f"http://127.0.0.1:{port}/fleet") as visit,
    ):
        page = visit("", user="")
        expect(page).to_have_url(re.compile(r"/fleet/sign-in$"))
        page.get_by_label("User").fill("admin")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Sign in").click()
        machine = page.get_by_role("table").get_by_role("link", name=re.compile("^db-01"))
        expect(machine).to_be_visible()
        href = machine.get_attribute("href")
        page.goto(f"http://127.0.0.1:{port}/fleet/{href}")
        expect(page.get_by_role("heading", name=re.compile("^db-01"), level=1)).to_be_visible()
        expect(page).to_have_url(re.compile(r"/fleet/machine\?id=db-01"))
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").first.click()
        assert download.value.path().read_text().startswith("machine,time,")
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(re.compile(r"/fleet/sign-in$"))


@pytest.mark.parametrize(
    ("missing", "logged"), [("Upgrade|Connection", "Upgrade and Connection"), ("Host", "does not pass on the Host")]
)
def test_a_page_without_its_websocket_says_so_and_the_log_names_the_header(
    served: Dashboard,
    browser: Browser,
    tmp_path: Path,
    visit_at: Callable[[Browser, str], AbstractContextManager[Open]],
    missing: str,
    logged: str,
) -> None:
    lines = re.sub(rf".*proxy_set_header ({missing}) .*\n", "", documented("location / {"))
    with nginx(tmp_path, lines, to=served.port) as port:
        with visit_at(browser, served.url) as visit:
            state = visit("", user="admin").context.storage_state()
        context = browser.new_context(storage_state=state)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.get_by_role("alert")).to_contain_text("The live connection (WebSocket)", timeout=30_000)
        wait_until(lambda: logged in served.log.read_text(), what="the warning in the log")
        context.close()
