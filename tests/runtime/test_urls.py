"""Database URLs are shown without passwords."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from runtime.urls import DatabaseUrl, sqlite_url

WITH_PASSWORD = {
    "postgresql+psycopg://anna:SECRET@host:5/db?sslmode=require": "postgresql+psycopg://anna:***@host:5/db?sslmode=require",
    "postgresql://anna:SE/CRET@host/db": "postgresql://anna:***@host/db",
    "postgresql://anna:SE@CRET@host/db": "postgresql://anna:***@host/db",
    "postgresql://anna:@SECRET@host/db": "postgresql://anna:***@host/db",
    "postgresql://:SECRET@host/db": "postgresql://:***@host/db",
    "postgresql://h/db?password=SECRET&sslPassword=SECRET&x=1": "postgresql://h/db?password=***&sslPassword=***&x=1",
}
WITHOUT_PASSWORD = [
    "",
    "sqlite://",
    "sqlite:////var/lib/a:b@c.db",
    "postgresql://host/db",
    "postgresql://anna@host:5432/db",
    "postgresql://anna@[::1]:5432/db",
    "postgresql://host/db?passfile=/etc/passfile&service=fleet",
]


@pytest.mark.parametrize(("url", "shown"), WITH_PASSWORD.items())
def test_a_password_shows_nowhere(url: str, shown: str) -> None:
    secret = DatabaseUrl(url)

    assert secret.has_password
    assert str(secret) == f"{secret}" == shown
    assert repr(secret) == f"DatabaseUrl({shown!r})"
    assert secret.get_secret_value() == url


@pytest.mark.parametrize("url", WITHOUT_PASSWORD)
def test_what_holds_no_password_is_shown_as_it_is(url: str) -> None:
    assert not DatabaseUrl(url).has_password
    assert str(DatabaseUrl(url)) == url


@pytest.mark.parametrize("name", ["fleet.db", "a b", "c#", "what?", "100%25", "ü@:&="])
def test_a_url_leads_to_the_file_it_was_made_of(tmp_path: Path, name: str) -> None:
    assert make_url(sqlite_url(tmp_path / name)).database == str(tmp_path / name)
    assert not DatabaseUrl(sqlite_url(tmp_path / name)).has_password
