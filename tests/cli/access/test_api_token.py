"""`dashfleet api-token`: output and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from command_line import dashfleet, refusal

from dashboard.api.tokens import ApiClient, ApiTokens
from dashboard.auth.auth_database import open_auth_database
from runtime.clock import SystemClock
from runtime.state_directory import StateDirectory


@pytest.fixture
def data(data: Path, add_orgs: Callable[..., None]) -> Path:
    """Return a state directory with this organisation."""
    add_orgs("home")
    return data


def find(data: Path, token: str, clock: Clock | SystemClock | None = None) -> ApiClient | None:
    engine = open_auth_database(StateDirectory(data).people_url)
    try:
        return ApiTokens(engine, clock or SystemClock()).find(token)
    finally:
        engine.dispose()


def listed(data: Path) -> list[dict[str, Any]]:
    found = json.loads(dashfleet("api-token", "list", "--data", str(data), "--json").stdout)
    assert isinstance(found, list)
    return found


def test_a_token_is_created_printed_once_listed_and_revoked(data: Path) -> None:
    made = dashfleet("api-token", "create", "grafana", "--org", "home", "--expires", "2d", "--data", str(data))
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert "It is shown only once." in made.stderr
    client = find(data, token)
    assert client is not None
    assert (client.org, client.name, client.role) == ("home", "grafana", "viewer")
    (row,) = listed(data)
    assert (row["name"], row["expires"] - row["created"]) == ("grafana", 2 * 86_400_000)
    shown = dashfleet("api-token", "list", "--data", str(data)).stdout
    assert "grafana" in shown
    assert token not in shown
    assert dashfleet("api-token", "revoke", "grafana", "--data", str(data)).returncode == 0
    assert find(data, token) is None
    assert listed(data) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "x", "--org", "nosuch"), "there is no organisation nosuch"),
        (("list", "--org", "nosuch"), "there is no organisation nosuch"),
        (("create", "x", "--role", "king"), "there is no role king"),
        (("create", "x", "--expires", "soon"), "soon"),
        (("create", "X"), "lower-case letters"),
        (("revoke", "x"), "there is no API token x in home"),
    ],
)
def test_a_mistake_is_one_sentence(data: Path, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal("api-token", *words, "--data", str(data))
    assert listed(data) == []
