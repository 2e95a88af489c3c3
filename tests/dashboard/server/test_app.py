import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from servers import free_port

from dashboard.server import app
from runtime.settings.dashboard import DashboardSettings
from runtime.urls import sqlite_url
from schemas.database.engine import DatabaseError

EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused by default, which is tested
SERVE = """
import json, sys
from dashboard.server.app import run
from runtime.settings.dashboard import DashboardSettings
run(DashboardSettings(**json.loads(sys.argv[1])), lambda: print("ready", flush=True))
"""


def settings(directory: Path, **given: object) -> DashboardSettings:
    ordinary = {
        "data": directory,
        "port": free_port(),
        "database": sqlite_url(directory / "fleet.db"),
        "auth_database": sqlite_url(directory / "auth.db"),
    }
    return DashboardSettings(**{**ordinary, **given})


def test_streamlit_still_knows_every_option(tmp_path: Path) -> None:
    from streamlit import config

    known = set(config.get_config_options())
    assert set(app.options(settings(tmp_path))) <= known


def test_a_taken_port_is_refused_with_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(app.ServeError, match=rf"port {port} on 127\.0\.0\.1 is taken.*DASHFLEET_DASHBOARD_PORT"):
            app.run(settings(tmp_path, port=port), lambda: pytest.fail("it is not ready"))
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_not_ours_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(app.ServeError, match=r"cannot listen on 192\.0\.2\.1"):
        app.run(settings(tmp_path, bind="192.0.2.1", insecure=True), lambda: None)


def test_an_auth_database_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError):
        app.run(settings(tmp_path, auth_database=sqlite_url(tmp_path / "file" / "auth.db")), lambda: None)


@pytest.mark.parametrize("bind", [EVERYWHERE, "::", "192.0.2.1", "fleet.example.org"])
def test_plain_http_beyond_loopback_is_refused_with_what_to_do(tmp_path: Path, bind: str) -> None:
    with pytest.raises(app.ServeError, match=r"it has no TLS.*127\.0\.0\.1.*DASHFLEET_DASHBOARD_INSECURE"):
        app.run(settings(tmp_path, bind=bind), lambda: pytest.fail("it is not ready"))
    assert list(tmp_path.iterdir()) == []


def test_it_answers_only_to_its_own_names_and_those_it_was_told(tmp_path: Path) -> None:
    port = free_port()
    told = {"bind": EVERYWHERE, "port": port, "insecure": True, "hosts": ["fleet.example.org"]}
    urls = {name: sqlite_url(tmp_path / f"{name}.db") for name in ("database", "auth_database")}
    argv = [sys.executable, "-c", SERVE, json.dumps({"data": str(tmp_path), **urls, **told})]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for name in ("localhost:8501", "127.0.0.1", f"[::1]:{port}", "fleet.example.org", "FLEET.example.org:443"):
                assert status(port, name) == 200, name
            for name in ("evil.example", f"192.0.2.1:{port}", "x.fleet.example.org", "fleet.example.org.evil.example"):
                assert status(port, name) == 400, name
        finally:
            process.terminate()


def status(port: int, host: str) -> int:
    """Return the status of a request with this Host header."""
    return httpx2.get(f"http://127.0.0.1:{port}/readyz", headers={"host": host}).status_code
