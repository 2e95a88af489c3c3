"""`dashfleet user`: output and exit codes, also at a terminal."""

import json
from pathlib import Path

from command_line import at_a_terminal, dashfleet, refusal

from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import verify
from runtime.state_directory import StateDirectory


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


def test_somebody_is_added_with_a_password_that_is_typed_and_not_shown(tmp_path: Path) -> None:
    typed = ["correct horse battery"] * 2
    code, shown = at_a_terminal(
        "user", "add", "ada", "--role", "operator", "--org", "acme", "--data", str(tmp_path), typing=typed
    )
    assert code == 0, shown
    assert typed[0] not in shown
    assert people(tmp_path) == [{"name": "ada", "role": "operator", "org": "acme"}]
    assert signs_in(tmp_path, "ada", typed[0])
    assert "ada" in dashfleet("user", "list", "--data", str(tmp_path)).stdout


def test_a_lost_password_is_replaced_by_one_that_is_made_and_shown_once(tmp_path: Path) -> None:
    first = dashfleet("user", "add", "admin", "--role", "admin", "--generate", "--data", str(tmp_path))
    second = dashfleet("user", "password", "admin", "--generate", "--data", str(tmp_path))
    assert (first.returncode, second.returncode) == (0, 0)
    assert not signs_in(tmp_path, "admin", first.stdout.strip())
    assert signs_in(tmp_path, "admin", second.stdout.strip())


def test_a_password_is_replaced_by_one_that_is_typed(tmp_path: Path) -> None:
    dashfleet("user", "add", "ada", "--generate", "--data", str(tmp_path))
    typed = ["another horse battery"] * 2
    code, shown = at_a_terminal("user", "password", "ada", "--data", str(tmp_path), typing=typed)
    assert code == 0, shown
    assert signs_in(tmp_path, "ada", typed[0])


def test_somebody_is_removed(tmp_path: Path) -> None:
    dashfleet("user", "add", "ada", "--generate", "--data", str(tmp_path))
    assert dashfleet("user", "remove", "ada", "--data", str(tmp_path)).returncode == 0
    assert people(tmp_path) == []


def test_what_cannot_be_done_with_people_is_one_sentence_without_a_password(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    dashfleet("user", "add", "ada", "--generate", *data)
    assert "there is no user bob" in refusal("user", "password", "bob", *data)
    assert "there is no user bob" in refusal("user", "remove", "bob", *data)
    assert "ada already" in refusal("user", "add", "ada", "--generate", *data)
    assert "there is no role root" in refusal("user", "add", "bob", "--role", "root", "--generate", *data)
    assert dashfleet("user", "add", "ada", "--generate", *data).stdout == ""
