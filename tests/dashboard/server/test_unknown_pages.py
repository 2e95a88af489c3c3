"""Addresses of pages that do not exist, in front of a stand-in for Streamlit."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.server.unknown_pages import UnknownPages

PAGE = {"accept": "text/html,*/*"}


async def streamlit(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("streamlit")


@pytest.fixture
def client() -> Iterator[TestClient]:
    routes = [UnknownPages(frozenset({"fleet", "machine"})), Route("/{path:path}", streamlit)]
    with TestClient(Starlette(routes=routes)) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/fleet", "/machine?id=a", "/machine/", "/static/js/index.js", "/_stcore/health"]
)
def test_pages_and_files_are_streamlits(client: TestClient, path: str) -> None:
    assert client.get(path, headers=PAGE).text == "streamlit"


@pytest.mark.parametrize("path", ["/nothing", "/machine/a", "/<script>alert(1)</script>", "/Fleet"])
def test_an_unknown_address_says_so(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=PAGE)
    assert answer.status_code == 404
    assert "There is no page at this address." in answer.text
    assert "script" not in answer.text.partition("<main")[2]


def test_what_is_not_opened_as_a_page_is_streamlits(client: TestClient) -> None:
    assert client.get("/nothing").text == "streamlit"


def test_the_page_speaks_the_language_of_the_browser(client: TestClient) -> None:
    assert '<html lang="fr">' in client.get("/nothing", headers={**PAGE, "accept-language": "fr"}).text
