"""Loading what only pages need when the first browser comes."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from waiting import wait_until

from dashboard.server import warm_up
from dashboard.server.warm_up import WarmUp


def test_a_browser_starts_the_loading_once_and_a_program_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[None] = []
    monkeypatch.setattr(warm_up, "load", lambda: loads.append(None))
    routes = [Route("/{path:path}", lambda _request: PlainTextResponse("answer"))]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(WarmUp)]))
    for path in ("/ready", "/api/v1/machines", "/metrics/machines"):
        assert client.get(path).text == "answer"
    assert not loads
    for path in ("/fleet/sign-in", "/sign-in"):
        assert client.get(path).text == "answer"
    wait_until(lambda: loads)
    assert len(loads) == 1
