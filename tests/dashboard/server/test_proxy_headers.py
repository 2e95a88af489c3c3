"""Which clients may state the scheme and the address of a request."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from pydantic import ValidationError
from servers import free_port
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.server import proxy_headers
from dashboard.server.proxy_headers import TrustedProxies
from runtime.rate_limited_log import RateLimitedLog
from runtime.settings.dashboard import DashboardSettings
from runtime.urls import sqlite_url

FORWARDED = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
SERVE = """
import json, sys
from dashboard.server.app import run
from runtime.settings.dashboard import DashboardSettings
run(DashboardSettings(**json.loads(sys.argv[1])), lambda: print("ready", flush=True))
"""


async def seen(request: Request) -> JSONResponse:
    assert request.client is not None
    return JSONResponse([request.url.scheme, request.client.host])


def ask(client: str, *proxies: str, headers: dict[str, str] = FORWARDED) -> list[str]:
    """Return scheme and address of a request with forwarded headers."""
    app = Starlette(routes=[Route("/", seen)], middleware=[Middleware(TrustedProxies, proxies=proxies)])
    with TestClient(app, client=(client, 1)) as browser:
        answer: list[str] = browser.get("/", headers=headers).json()
        return answer


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "10.0.0.9"])
def test_headers_of_others_are_ignored_with_a_warning(
    client: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_headers, "_log", RateLimitedLog(logging.getLogger("dashboard")))
    assert ask(client, "10.0.0.1") == ["http", client]
    assert f"headers of {client} are ignored" in caplog.text
    assert "DASHFLEET_DASHBOARD_PROXIES" in caplog.text
    caplog.clear()
    assert ask(client, "10.0.0.1", headers={}) == ["http", client]
    assert not caplog.text


@pytest.mark.parametrize("proxy", ["10.0.0.9", "10.0.0.0/24"])
def test_headers_of_a_proxy_are_believed(proxy: str, caplog: pytest.LogCaptureFixture) -> None:
    assert ask("10.0.0.9", proxy) == ["https", "203.0.113.9"]
    assert not caplog.text


def test_an_address_that_a_client_adds_in_front_of_the_proxys_is_not_believed() -> None:
    headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}
    assert ask("10.0.0.9", "10.0.0.9", headers=headers) == ["http", "203.0.113.9"]


@pytest.mark.parametrize("wrong", ["*", "nginx", "10.0.0.0/33", ""])
def test_a_proxy_is_an_address_or_a_network(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValidationError, match="an IP address or a network"):
        DashboardSettings.model_validate(
            {"data": tmp_path, "database": "sqlite://", "auth_database": "sqlite://", "proxies": [wrong]}
        )


@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]])
def test_cookies_are_secure_and_the_browser_stays_encrypted_only_behind_a_named_proxy(
    tmp_path: Path, proxies: list[str]
) -> None:
    port = free_port()
    urls = {name: sqlite_url(tmp_path / f"{name}.db") for name in ("database", "auth_database")}
    argv = [sys.executable, "-c", SERVE, json.dumps({"data": str(tmp_path), "port": port, "proxies": proxies, **urls})]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            answer = httpx2.get(f"http://127.0.0.1:{port}/sign-in?lang=fr", headers=FORWARDED)
            assert ("secure" in answer.headers["set-cookie"].lower()) == bool(proxies)
            assert ("strict-transport-security" in answer.headers) == bool(proxies)
        finally:
            process.terminate()
