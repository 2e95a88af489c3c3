"""`dashfleet notify`, as people and the acceptance checks use it."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_stubs import HttpStub, http_stub
from typer.testing import CliRunner

import dashfleet
from runtime.errors import UserError
from schemas.database import engine

URL = "json://127.0.0.1:{port}/s3cr3t"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("state")
    assert CliRunner().invoke(dashfleet.application(), ["setup", "--data", str(data)]).exit_code == 0
    return data


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    with http_stub() as made:
        yield made


def notify(state: Path, *arguments: str, given: str | None = None) -> str:
    done = CliRunner().invoke(dashfleet.application(), ["notify", *arguments, "--data", str(state)], input=given)
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_destination_is_added_tested_listed_and_removed(state: Path, stub: HttpStub) -> None:
    notify(state, "add", "chat", "-", "--allow-private", given=URL.format(port=stub.port) + "\n")
    stub.answer = lambda _: (200, {}, b"accepted as 4711")
    assert "accepted as 4711" in notify(state, "test", "chat")
    assert stub.received[0].path == "/s3cr3t"
    (listed,) = json.loads(notify(state, "list", "--json"))
    assert {name: listed[name] for name in ("name", "org", "service", "url", "private", "routes")} == {
        "name": "chat",
        "org": "home",
        "service": "json",
        "url": f"json://127.0.0.1:{stub.port}/…",
        "private": True,
        "routes": [],
    }
    (entry,) = json.loads(notify(state, "log", "--json"))
    assert (entry["state"], entry["kind"], entry["answer"]) == ("sent", "test", "200 OK accepted as 4711")
    for output in (notify(state, "list"), notify(state, "list", "--json"), notify(state, "log", "--json")):
        assert "s3cr3t" not in output
    notify(state, "remove", "chat")
    assert json.loads(notify(state, "list", "--json")) == []


def test_a_test_that_is_not_accepted_exits_with_1_and_shows_the_answer(state: Path, stub: HttpStub) -> None:
    notify(state, "add", "broken", URL.format(port=stub.port), "--allow-private")
    stub.answer = lambda _: (403, {}, b"wrong token")
    done = CliRunner().invoke(dashfleet.application(), ["notify", "test", "broken", "--data", str(state)])
    assert done.exit_code == 1
    assert "403" in done.stdout
    assert "wrong token" in done.stdout
    assert "not accepted" in done.stderr
    notify(state, "remove", "broken")


def test_a_private_address_is_not_used_unless_the_owner_allows_it(state: Path, stub: HttpStub) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1 is not a public address: add --allow-private"):
        notify(state, "add", "inside", URL.format(port=stub.port))
    assert json.loads(notify(state, "list", "--json")) == []
    notify(state, "add", "inside", f"json://localhost:{stub.port}/s3cr3t")
    done = CliRunner().invoke(dashfleet.application(), ["notify", "test", "inside", "--data", str(state)])
    assert done.exit_code == 1
    assert "--allow-private" in done.stderr
    assert stub.received == []
    notify(state, "remove", "inside")


def test_routes_and_preferences_are_changed_and_shown(state: Path) -> None:
    notify(state, "add", "pager", "https://example.org/hook")
    assert "every alert" in notify(state, "list")
    notify(state, "route", "pager", "--label", "site=nantes", "--severity", "critical", "--after", "15m")
    notify(state, "route", "pager", "--rule", "disk", "--machine", "attic")
    first, second = json.loads(notify(state, "routes", "pager", "--json"))
    assert (first["labels"], first["severities"], first["after_seconds"]) == ({"site": "nantes"}, ["critical"], 900)
    assert (second["rules"], second["machines"]) == (["disk"], ["attic"])
    notify(state, "routes", "pager", "--clear")
    assert json.loads(notify(state, "routes", "pager", "--json")) == []
    notify(
        state, "set", "pager", "--zone", "Europe/Paris", "--quiet", "22:00-07:00", "--repeat", "4h", "--language", "fr"
    )
    found = json.loads(notify(state, "set", "pager", "--json"))
    assert (found["zone"], found["repeat_seconds"], found["language"]) == ("Europe/Paris", 14_400, "fr")
    assert found["quiet"][0]["start"] == "22:00"
    notify(state, "set", "pager", "--quiet", "mon-fri 22:00-07:00", "--quiet", "sat,SUN 00:00-00:00")
    weekdays, weekend = json.loads(notify(state, "set", "pager", "--json"))["quiet"]
    assert (sorted(weekdays["days"]), weekdays["start"]) == ([0, 1, 2, 3, 4], "22:00")
    assert (sorted(weekend["days"]), weekend["end"]) == ([5, 6], "00:00")
    notify(state, "set", "pager", "--quiet", "off", "--repeat", "0", "--group-by", "site", "--group", "30s")
    assert json.loads(notify(state, "set", "pager", "--json"))["group_by"] == ["site"]
    assert json.loads(notify(state, "set", "pager", "--json"))["quiet"] == []
    assert len(notify(state, "secret", "pager").strip()) == 64
    notify(state, "remove", "pager")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "x", "dbus://"), "not a service"),
        (("add", "x", "https://169.254.169.254/", "--allow-private"), "never sent to"),
        (("add", "x", "slack://incomplete"), "not complete"),
        (("add", "x", "https://example.org/", "--org", "nobody"), "no organisation"),
        (("list", "--org", "nobody"), "no organisation nobody"),
        (("log", "--org", "nobody"), "no organisation nobody"),
        (("add", "", "https://example.org/"), "name of a destination"),
        (("test", "nobody"), "no destination"),
        (("remove", "nobody"), "no destination"),
        (("route", "nobody", "--label", "site"), "KEY=VALUE"),
        (("route", "nobody", "--severity", "low"), "severities.0 must be one of warning, critical"),
        (("set", "nobody", "--quiet", "22:00"), "22:00-07:00"),
        (("set", "nobody", "--quiet", "never 22:00-07:00"), "mon-fri 22:00-07:00"),
        (("report", "nobody", "week"), "no destination"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(state: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        notify(state, *arguments)


def test_reports_go_to_mail_destinations_only(state: Path) -> None:
    notify(state, "add", "mail", "mailtos://a:b@example.org?to=c@example.org")
    notify(state, "report", "mail", "week", "--hour", "7")
    notify(state, "report", "mail", "week", "--off")
    notify(state, "add", "hook", "https://example.org/hook")
    with pytest.raises(UserError, match="by mail"):
        notify(state, "report", "hook", "week")
    with pytest.raises(UserError, match="week or month"):
        notify(state, "report", "mail", "day")


def test_an_organisation_that_comes_again_under_the_name_of_a_removed_one_has_no_destinations(state: Path) -> None:
    def org(*arguments: str) -> None:
        done = CliRunner().invoke(dashfleet.application(), ["org", *arguments, "--data", str(state)])
        assert done.exit_code == 0, done.output

    org("add", "acme")
    notify(state, "add", "theirs", "https://example.org/s3cr3t", "--org", "acme")
    org("remove", "acme", "--yes")
    org("add", "acme")
    assert json.loads(notify(state, "list", "--org", "acme", "--json")) == []
    org("remove", "acme", "--yes")


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("people.db", ("notify", "add", "busy", "https://example.org/s3cr3t")),
        ("people.db", ("user", "add", "ada", "--role", "admin")),
        ("dashfleet.db", ("silence", "add", "--all", "--for", "1h", "--reason", "work")),
        ("dashfleet.db", ("rule", "add", "busy", "--metric", "cpu_percent", "--above", "90")),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else value,
)
def test_a_database_that_another_program_has_locked_is_one_sentence(
    state: Path, file: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SQLITE_BUSY_MILLISECONDS", 20)
    other = sqlite3.connect(state / file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        done = CliRunner().invoke(
            dashfleet.application(), [*command, "--data", str(state)], input="pass phrase 17\npass phrase 17\n"
        )
    finally:
        other.close()
    assert isinstance(done.exception, UserError), done.output
    assert str(done.exception).startswith("cannot ")
    assert str(done.exception).endswith(f"{state / file}: database is locked")


def test_preferences_that_contradict_each_other_are_refused_with_a_sentence(state: Path) -> None:
    notify(state, "add", "reminding", "https://example.org/hook")
    with pytest.raises(UserError, match=r"^reminders are at least 5 minutes apart"):
        notify(state, "set", "reminding", "--repeat", "10s")
