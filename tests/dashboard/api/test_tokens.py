"""API tokens: who gets one, how long it is valid, and what is stored of it."""

import pytest
from clocks import Clock
from sqlalchemy import Engine, select

from dashboard.api import tokens as api_tokens
from dashboard.api.tokens import ApiTokens
from dashboard.auth.auth_database import account_change
from dashboard.auth.passwords import AccountError
from dashboard.auth.user_administration import Admin
from dashboard.auth.users import UserRole, add_user
from schemas.people.api_token_table import api_token
from schemas.people.people_store import remove_org_records

DAY = 86_400


@pytest.fixture
def tokens(accounts: Engine, clock: Clock) -> ApiTokens:
    return ApiTokens(accounts, clock)


def create(tokens: ApiTokens, name: str = "grafana", org: str = "home", seconds: float = DAY) -> str:
    return tokens.create(org, name, UserRole.VIEWER, seconds=seconds, by="root")


def test_a_token_is_its_programs_until_it_expires(tokens: ApiTokens, clock: Clock) -> None:
    token = create(tokens)
    found = tokens.find(token)
    assert found is not None
    assert (found.org, found.name, found.role) == ("home", "grafana", UserRole.VIEWER)
    clock.advance(DAY - 1)
    assert tokens.find(token) is not None
    clock.advance(1)
    assert tokens.find(token) is None


def test_a_token_that_is_revoked_is_nobodys(tokens: ApiTokens) -> None:
    token = create(tokens)
    tokens.revoke("home", "grafana", by="root")
    assert tokens.find(token) is None
    with pytest.raises(AccountError, match="there is no API token grafana in home"):
        tokens.revoke("home", "grafana", by="root")


@pytest.mark.parametrize(
    "wrong", ["", "x", "dashfleet_", "dashfleet_" + "A" * 43, "dashfleet_" + "A" * 9_999, "é" * 53]
)
def test_any_other_text_is_no_token(tokens: ApiTokens, wrong: str) -> None:
    create(tokens)
    assert tokens.find(wrong) is None


def test_only_the_hash_of_a_token_is_stored(tokens: ApiTokens, accounts: Engine) -> None:
    token = create(tokens)
    with accounts.connect() as connection:
        (row,) = connection.execute(select(api_token)).all()
        changes = connection.execute(select(account_change)).all()
    assert token.removeprefix(api_tokens.PREFIX) not in repr((row, changes))
    assert not hasattr(tokens.listed("home")[0], "token_hash")


def test_creating_and_revoking_is_recorded_with_its_author(tokens: ApiTokens, accounts: Engine) -> None:
    create(tokens)
    tokens.revoke("home", "grafana", by="ada")
    with accounts.connect() as connection:
        rows = connection.execute(select(account_change).order_by(account_change.c.id)).all()
    assert [(row.org, row.by, row.kind, row.name, row.detail) for row in rows] == [
        ("home", "root", "add-api-token", "grafana", "viewer"),
        ("home", "ada", "revoke-api-token", "grafana", ""),
    ]


def test_the_last_use_is_stored_to_the_minute(tokens: ApiTokens, clock: Clock) -> None:
    token = create(tokens)
    assert tokens.listed("home")[0].used_at is None
    tokens.find(token)
    first = clock.now()
    clock.advance(59)
    tokens.find(token)
    assert tokens.listed("home")[0].used_at == first
    clock.advance(1)
    tokens.find(token)
    assert tokens.listed("home")[0].used_at == clock.now()


def test_names_are_unique_in_an_organisation_and_their_number_is_bounded(
    tokens: ApiTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tokens)
    create(tokens, org="other")
    with pytest.raises(AccountError, match="there is an API token grafana already"):
        create(tokens)
    monkeypatch.setattr(api_tokens, "TOKENS_MAX", 2)
    create(tokens, "second")
    with pytest.raises(AccountError, match="home has 2 API tokens, which is the maximum"):
        create(tokens, "third")
    assert [(row.org, row.name) for row in tokens.listed()] == [
        ("home", "grafana"),
        ("home", "second"),
        ("other", "grafana"),
    ]


@pytest.mark.parametrize(("name", "seconds"), [("Grafana", DAY), ("", DAY), ("a" * 64, DAY), ("a", 0), ("a", 1e12)])
def test_a_name_or_a_lifetime_out_of_bounds_is_refused(tokens: ApiTokens, name: str, seconds: float) -> None:
    with pytest.raises(AccountError):
        create(tokens, name, seconds=seconds)
    assert tokens.listed() == []


@pytest.mark.usefixtures("quick_hashing")
def test_only_admins_of_an_organisation_create_and_revoke_its_tokens(tokens: ApiTokens, accounts: Engine) -> None:
    for name, role, org in (("ada", "admin", "home"), ("olga", "operator", "home"), ("carl", "admin", "acme")):
        add_user(accounts, name, "correct horse battery", role, org)
    token = tokens.create_as(Admin("ada", "home"), "grafana", UserRole.VIEWER, seconds=DAY)
    for stranger in (Admin("olga", "home"), Admin("carl", "home"), Admin("nobody", "home")):
        with pytest.raises(AccountError, match="only admins"):
            tokens.create_as(stranger, "other", UserRole.VIEWER, seconds=DAY)
        with pytest.raises(AccountError, match="only admins"):
            tokens.revoke_as(stranger, "grafana")
    with pytest.raises(AccountError, match="there is no API token grafana in acme"):
        tokens.revoke_as(Admin("carl", "acme"), "grafana")
    assert tokens.find(token) is not None
    tokens.revoke_as(Admin("ada", "home"), "grafana")
    assert tokens.find(token) is None


def test_an_organisation_that_is_removed_leaves_no_token(tokens: ApiTokens, accounts: Engine) -> None:
    token, other = create(tokens), create(tokens, org="other")
    remove_org_records(accounts, "home")
    assert tokens.find(token) is None
    assert tokens.find(other) is not None
