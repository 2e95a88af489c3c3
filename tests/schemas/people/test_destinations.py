"""Destinations: their secrets, their bounds, and the separation of organisations."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from runtime.errors import UserError
from runtime.urls import sqlite_url
from schemas.people import destinations
from schemas.people.destinations import (
    add_destination,
    add_route,
    find_destination,
    list_destinations,
    open_url,
    owner_preferences,
    remove_destination,
    remove_owner,
    remove_route,
    set_owner_preferences,
    set_routes,
    set_url,
)
from schemas.people.people_store import open_people_store
from schemas.people.routing import ROUTES_MAX, Preferences, Route
from schemas.people.secret_box import SecretBox
from schemas.people.services import DestinationError, masked_url, server_of

SECRET = "https://hooks.example.org/services/T0S3CR3T/hunter2?key=abc"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    engine = open_people_store(sqlite_url(tmp_path / "people.db"))
    yield engine
    engine.dispose()


@pytest.fixture
def box(tmp_path: Path) -> SecretBox:
    return SecretBox.load(tmp_path / "secrets" / "key")


def test_the_url_is_encrypted_at_rest_and_masked_wherever_it_is_listed(
    store: Engine, box: SecretBox, tmp_path: Path
) -> None:
    added = add_destination(store, box, "acme", "On call", SECRET, by="ada", now=1)
    assert open_url(box, added) == SECRET
    assert added.shown == "https://hooks.example.org/…"
    store.dispose()
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"T0S3CR3T" not in everything
    assert "hunter2" not in repr(list_destinations(store))
    assert stat.S_IMODE((tmp_path / "people.db").stat().st_mode) == 0o600


def test_the_key_is_private_created_once_and_needed_to_read(store: Engine, box: SecretBox, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    added = add_destination(store, box, "acme", "On call", SECRET, by="ada", now=1)
    assert open_url(SecretBox.load(path), added) == SECRET
    path.unlink()
    with pytest.raises(UserError, match="cannot decrypt"):
        open_url(SecretBox.load(path), added)
    path.write_text("short\n")
    with pytest.raises(UserError, match="not a key"):
        SecretBox.load(path)
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        SecretBox.load(path)


def test_a_sealed_url_cannot_be_moved_to_another_organisation(store: Engine, box: SecretBox, tmp_path: Path) -> None:
    add_destination(store, box, "acme", "On call", SECRET, by="ada", now=1)
    with sqlite3.connect(tmp_path / "people.db") as connection:
        connection.execute("UPDATE destination SET org = 'other'")
    connection.close()
    with pytest.raises(UserError, match="cannot decrypt"):
        open_url(box, find_destination(store, "other", "On call"))


def test_an_organisation_finds_and_changes_only_its_own(store: Engine, box: SecretBox) -> None:
    mine = add_destination(store, box, "acme", "On call", SECRET, by="ada", now=1)
    theirs = add_destination(store, box, "other", "On call", "https://other.example/", by="eve", now=1)
    assert [each.id for each in list_destinations(store, "acme")] == [mine.id]
    assert find_destination(store, "other", "On call").id == theirs.id
    with pytest.raises(DestinationError, match="no destination"):
        find_destination(store, "third", "On call")
    remove_destination(store, theirs)
    assert [each.id for each in list_destinations(store)] == [mine.id]


def test_names_are_unique_and_numbers_are_bounded(
    store: Engine, box: SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "PER_ORG_MAX", 3)
    monkeypatch.setattr(destinations, "PER_OWNER_MAX", 1)
    add_destination(store, box, "acme", "a", SECRET, by="ada", now=1)
    with pytest.raises(DestinationError, match="already"):
        add_destination(store, box, "acme", "a", SECRET, by="ada", now=1)
    add_destination(store, box, "acme", "a", SECRET, by="ada", now=1, owner="ada")
    with pytest.raises(DestinationError, match="a user has at most"):
        add_destination(store, box, "acme", "b", SECRET, by="ada", now=1, owner="ada")
    add_destination(store, box, "acme", "c", SECRET, by="ada", now=1)
    with pytest.raises(DestinationError, match="an organisation has at most"):
        add_destination(store, box, "acme", "d", SECRET, by="ada", now=1)
    for name in ("", "x" * 65, "a\x00b"):
        with pytest.raises(DestinationError):
            add_destination(store, box, "other", name, SECRET, by="ada", now=1)
    with pytest.raises(DestinationError, match="routes"):
        set_routes(store, find_destination(store, "acme", "a"), [Route()] * (ROUTES_MAX + 1))


def test_a_route_is_added_to_and_removed_from_the_routes_of_now(store: Engine, box: SecretBox) -> None:
    seen = add_destination(store, box, "acme", "a", SECRET, by="ada", now=1)
    disk, away, load = (Route(rules=(rule,)) for rule in ("disk", "away", "load"))
    for route in (disk, away, away, load):
        add_route(store, seen, route)  # `seen` has none of them, as a page that was drawn before
    assert find_destination(store, "acme", "a").routes == (disk, away, load)
    remove_route(store, seen, disk)
    remove_route(store, seen, disk)
    assert find_destination(store, "acme", "a").routes == (away, load)
    set_routes(store, seen, [Route(after_seconds=each) for each in range(ROUTES_MAX)])
    with pytest.raises(DestinationError, match="routes"):
        add_route(store, seen, disk)


def test_the_destinations_of_a_user_share_their_preferences_and_go_with_the_user(store: Engine, box: SecretBox) -> None:
    add_destination(store, box, "acme", "phone", "ntfy://topic", by="ada", now=1, owner="ada")
    set_owner_preferences(store, "acme", "ada", Preferences(language="fr", zone="Europe/Paris"))
    assert find_destination(store, "acme", "phone", owner="ada").preferences.language == "fr"
    assert owner_preferences(store, "acme", "ada").zone == "Europe/Paris"
    assert owner_preferences(store, "acme", "bob") == Preferences()
    with store.begin() as connection:
        remove_owner(connection, "acme", "ada")
    assert list_destinations(store, "acme") == []
    assert owner_preferences(store, "acme", "ada") == Preferences()


def test_a_new_url_replaces_the_old_one(store: Engine, box: SecretBox) -> None:
    added = add_destination(store, box, "acme", "On call", SECRET, by="ada", now=1)
    set_url(store, box, added, "tgram://123456:ABCdef/42")
    found = find_destination(store, "acme", "On call")
    assert (found.service, found.shown) == ("tgram", "tgram://…")
    assert open_url(box, found) == "tgram://123456:ABCdef/42"


def test_a_permission_for_a_private_address_ends_with_the_url_for_which_it_was_given(
    store: Engine, box: SecretBox
) -> None:
    added = add_destination(store, box, "acme", "Relay", "json://10.0.0.5/", by="root", now=1, allow_private=True)
    assert added.allow_private
    set_url(store, box, added, "http://10.0.0.9:9200/_shutdown")
    assert not find_destination(store, "acme", "Relay").allow_private


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mailtos://ada:secret@example.org?to=x@example.org", "mailtos://example.org/…"),
        ("slack://TokenA/TokenB/TokenC", "slack://…"),
        ("ntfy://secret-topic", "ntfy://…"),
        ("HTTPS://user:secret@Example.org/a?b=c", "https://example.org/…"),
        ("json://user:secret@[2001:db8::1]:80/", "json://[2001:db8::1]:80/…"),
        ("json://10.0.0.5:8443/s3cr3t", "json://10.0.0.5:8443/…"),
        ("json://10.0.0.5:s3cr3t/", "json://10.0.0.5/…"),
    ],
)
def test_a_masked_url_shows_the_service_and_a_host_but_no_secret(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("json://user:secret@10.0.0.5:80/", "10.0.0.5"),
        ("https://[::1]/hook", "::1"),
        ("mailtos://user:secret@example.org?smtp=10.0.0.5&to=x@example.org", "10.0.0.5"),
        ("mailto://10.0.0.5?to=x@example.org", "10.0.0.5"),
        ("slack://TokenA/TokenB/TokenC", ""),
    ],
)
def test_the_server_that_a_url_connects_to_is_known(url: str, server: str) -> None:
    assert server_of(url) == server


def test_a_url_that_is_no_text_is_rejected(store: Engine, box: SecretBox) -> None:
    with pytest.raises(DestinationError, match="not text"):
        add_destination(store, box, "acme", "Mail", "https://example.org/\udcff", by="ada", now=1)
