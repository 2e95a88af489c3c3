import stat
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from dashboard.auth.auth_database import open_auth_database, user
from dashboard.auth.passwords import AccountError, new_password
from dashboard.auth.users import UserRole, add_user, has_users, list_users, remove_user, set_password, verify
from runtime.urls import sqlite_url
from schemas.database.engine import DatabaseError

PASSWORD = "correct horse battery"


def test_a_new_database_has_no_users(accounts: Engine) -> None:
    assert not has_users(accounts)


def test_only_its_owner_can_read_the_database(accounts: Engine) -> None:
    path = Path(accounts.url.database or "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_added_person_can_be_verified(accounts: Engine) -> None:
    add_user(accounts, "admin", PASSWORD, UserRole.ADMIN, "home")
    person = verify(accounts, "admin", PASSWORD)
    assert has_users(accounts)
    assert person is not None
    assert (person.name, person.role, person.org) == ("admin", UserRole.ADMIN, "home")


def test_the_password_is_stored_as_argon2id_only(accounts: Engine) -> None:
    add_user(accounts, "admin", PASSWORD, "admin", "home")
    with accounts.connect() as connection:
        stored = connection.execute(select(user.c.password_hash)).scalar_one()
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in Path(accounts.url.database or "").read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("name", "password"), [("admin", "wrong password"), ("nobody", PASSWORD), ("admin", "x" * 5000)]
)
def test_a_wrong_name_or_password_is_nobody(accounts: Engine, name: str, password: str) -> None:
    add_user(accounts, "admin", PASSWORD, "admin", "home")
    assert verify(accounts, name, password) is None


@pytest.mark.parametrize("password", [PASSWORD, "the password of no user", ""])
def test_nobody_signs_in_as_a_user_whose_hash_was_emptied(accounts: Engine, password: str) -> None:
    add_user(accounts, "admin", PASSWORD, "admin", "home")
    with accounts.begin() as connection:
        connection.execute(update(user).values(password_hash=""))
    assert verify(accounts, "admin", password) is None


def test_a_name_is_taken_once(accounts: Engine) -> None:
    add_user(accounts, "ada", PASSWORD, "viewer", "home")
    with pytest.raises(AccountError, match="there is a user ada already"):
        add_user(accounts, "ada", PASSWORD, "viewer", "other")


@pytest.mark.parametrize(
    ("name", "password", "role", "org"),
    [
        ("Ada Lovelace", PASSWORD, "viewer", "home"),
        ("ada", "short", "viewer", "home"),
        ("ada", PASSWORD, "root", "home"),
        ("ada", PASSWORD, "viewer", "Home/1"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_sentence(
    accounts: Engine, name: str, password: str, role: str, org: str
) -> None:
    with pytest.raises(AccountError) as refused:
        add_user(accounts, name, password, role, org)
    assert password not in str(refused.value)


def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot open the auth database"):
        open_auth_database(sqlite_url(tmp_path / "file" / "auth.db"))


def test_a_new_password_replaces_the_old_one(accounts: Engine) -> None:
    add_user(accounts, "ada", PASSWORD, "viewer", "home")
    set_password(accounts, "ada", "another horse battery")
    assert verify(accounts, "ada", PASSWORD) is None
    assert verify(accounts, "ada", "another horse battery") is not None


def test_a_new_password_must_be_one_and_somebodys(accounts: Engine) -> None:
    add_user(accounts, "ada", PASSWORD, "viewer", "home")
    with pytest.raises(AccountError, match="a password has"):
        set_password(accounts, "ada", "short")
    with pytest.raises(AccountError, match="there is no user bob: dashfleet user list names them"):
        set_password(accounts, "bob", PASSWORD)
    with pytest.raises(AccountError, match="there is no user bob"):
        remove_user(accounts, "bob")
    assert verify(accounts, "ada", PASSWORD) is not None


def test_who_was_removed_is_nobody(accounts: Engine) -> None:
    add_user(accounts, "ada", PASSWORD, "viewer", "home")
    add_user(accounts, "bob", PASSWORD, "operator", "acme")
    remove_user(accounts, "ada")
    assert verify(accounts, "ada", PASSWORD) is None
    assert list_users(accounts) == [{"name": "bob", "role": "operator", "org": "acme"}]


def test_made_passwords_are_long_enough_and_never_the_same(accounts: Engine) -> None:
    add_user(accounts, "ada", new_password(), "viewer", "home")
    assert new_password() != new_password()
