"""`dashfleet user`: output and exit codes, also at a terminal."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import at_a_terminal, dashfleet, refusal
from sqlalchemy import insert, select

from dashboard.auth.auth_database import authenticator, open_auth_database
from dashboard.auth.users import verify
from runtime.state_directory import StateDirectory


@pytest.fixture
def data(data: Path, add_orgs: Callable[..., None]) -> Path:
    """Return a state directory with the organisations of these users."""
    add_orgs("home", "acme")
    return data


def people(data: Path) -> list[dict[str, str]]:
    found = json.loads(dashfleet("user", "list", "--data", str(data), "--json").stdout)
    assert isinstance(found, list)
    return found


def signs_in(data: Path, name: str, password: str) -> bool:
    engine = open_auth_database(StateDirectory(data).people_url)
    try:
        return verify(engine, name, password) is not None
    finally:
        engine.dispose()


def test_somebody_is_added_with_a_password_that_is_typed_and_not_shown(data: Path) -> None:
    typed = ["correct horse battery"] * 2
    code, shown = at_a_terminal(
        "user", "add", "ada", "--role", "operator", "--org", "acme", "--data", str(data), typing=typed
    )
    assert code == 0, shown
    assert typed[0] not in shown
    assert people(data) == [{"name": "ada", "role": "operator", "org": "acme"}]
    assert signs_in(data, "ada", typed[0])
    assert "ada" in dashfleet("user", "list", "--data", str(data)).stdout


def test_a_lost_password_is_replaced_by_one_that_is_made_and_shown_once(data: Path) -> None:
    first = dashfleet("user", "add", "admin", "--role", "admin", "--generate", "--data", str(data))
    second = dashfleet("user", "password", "admin", "--generate", "--data", str(data))
    assert (first.returncode, second.returncode) == (0, 0)
    assert not signs_in(data, "admin", first.stdout.strip())
    assert signs_in(data, "admin", second.stdout.strip())


def test_a_password_is_replaced_by_one_that_is_typed(data: Path) -> None:
    dashfleet("user", "add", "ada", "--generate", "--data", str(data))
    typed = ["another horse battery"] * 2
    code, shown = at_a_terminal("user", "password", "ada", "--data", str(data), typing=typed)
    assert code == 0, shown
    assert signs_in(data, "ada", typed[0])


def test_somebody_is_removed(data: Path) -> None:
    dashfleet("user", "add", "ada", "--generate", "--data", str(data))
    assert dashfleet("user", "remove", "ada", "--data", str(data)).returncode == 0
    assert people(data) == []


def test_an_organisation_that_does_not_exist_is_refused(data: Path) -> None:
    sentence = refusal("user", "add", "dave", "--org", "nosuch", "--generate", "--data", str(data))
    assert "there is no organisation nosuch" in sentence
    assert people(data) == []


def test_without_a_terminal_the_way_to_a_password_is_named(data: Path) -> None:
    assert "--generate" in refusal("user", "add", "ada", "--data", str(data))
    assert people(data) == []
    dashfleet("user", "add", "ada", "--generate", "--data", str(data))
    assert "--generate" in refusal("user", "password", "ada", "--data", str(data))


def test_what_cannot_be_done_with_people_is_one_sentence_without_a_password(data: Path) -> None:
    where = ["--data", str(data)]
    dashfleet("user", "add", "ada", "--generate", *where)
    assert "there is no user bob" in refusal("user", "password", "bob", *where)
    assert "there is no user bob" in refusal("user", "remove", "bob", *where)
    assert "ada already" in refusal("user", "add", "ada", "--generate", *where)
    assert "there is no role root" in refusal("user", "add", "bob", "--role", "root", "--generate", *where)
    assert dashfleet("user", "add", "ada", "--generate", *where).stdout == ""


def test_a_second_factor_is_reset_from_the_server(data: Path) -> None:
    where = ["--data", str(data)]
    dashfleet("user", "add", "ada", "--generate", *where)
    assert "ada has no second factor" in refusal("user", "reset-second-factor", "ada", *where)
    engine = open_auth_database(StateDirectory(data).people_url)
    with engine.begin() as connection:
        row = {"user_id": 1, "secret": "A" * 32, "confirmed": True, "last_step": 0}
        connection.execute(insert(authenticator).values(row))
    assert dashfleet("user", "reset-second-factor", "ada", *where).returncode == 0
    with engine.connect() as connection:
        assert connection.execute(select(authenticator)).first() is None
    engine.dispose()
    assert "there is no user bob" in refusal("user", "reset-second-factor", "bob", *where)


def test_a_typed_password_must_not_be_easily_guessed(data: Path) -> None:
    typed = ["aaaaaaaaaaaaaaaa"] * 2
    code, shown = at_a_terminal("user", "add", "ada", "--data", str(data), typing=typed)
    assert (code, "repeats a few characters" in shown) == (2, True)
    assert people(data) == []
