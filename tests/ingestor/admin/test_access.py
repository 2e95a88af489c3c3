"""Organisations, and who may connect, as the admin commands write them."""

from typing import Any

import pytest
from clocks import Clock
from sqlalchemy import Engine, func, select

from broker.access.credentials import hash_secret, verify_secret
from broker.access.policy import Principal, Role
from broker.access.principals import TableDirectory
from ingestor.admin import access, tokens
from runtime.errors import UserError
from schemas.database import tables

DAY = 86_400.0


@pytest.fixture
def acme(database: Engine, clock: Clock) -> Engine:
    """A database with the organisations acme and other."""
    for name in ("acme", "other"):
        access.new_org(database, name, now=clock.now)
    return database


def row(database: Engine, username: str) -> Any:  # noqa: ANN401 - a row of the table
    with database.connect() as connection:
        return connection.execute(select(tables.principal).where(tables.principal.c.username == username)).one()


def count(database: Engine, table: Any) -> int:  # noqa: ANN401 - a table
    with database.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def let_in(database: Engine, username: str, secret: str, clock: Clock) -> bool:
    """Whether a broker that reads the table now lets this one in."""
    directory = TableDirectory(database, clock=clock)
    directory.refresh()
    entry = directory.find(username)
    return entry is not None and entry.record_of(secret) is not None


def test_an_organisation_is_made_once_and_listed(acme: Engine, clock: Clock) -> None:
    access.new_principal(acme, "acme", "attic", "machine", now=clock.now)
    access.new_principal(acme, "acme", "grafana", "reader", now=clock.now)
    tokens.new_token(acme, "acme", uses=1, seconds=60, created_by="me", now=clock.now)
    with pytest.raises(UserError, match="acme exists already"):
        access.new_org(acme, "acme", now=clock.now)
    assert access.list_orgs(acme) == [
        {"org": "acme", "machines": 1, "principals": 1, "created": clock.now()},
        {"org": "other", "machines": 0, "principals": 0, "created": clock.now()},
    ]


@pytest.mark.parametrize("name", ["", "Acme", "a_b", "a/b", "+", "a" * 33])
def test_a_wrong_name_is_one_sentence(acme: Engine, clock: Clock, name: str) -> None:
    with pytest.raises(UserError, match="cannot be an organisation"):
        access.new_org(acme, name, now=clock.now)
    if len(name) != 33:
        with pytest.raises(UserError, match="cannot be a principal"):
            access.new_principal(acme, "acme", name, "reader", now=clock.now)


@pytest.mark.parametrize(
    ("role", "username"), [("reader", "acme._ann"), ("operator", "acme._ann"), ("machine", "acme.ann")]
)
def test_a_new_principal_is_let_in_with_its_secret_which_is_not_stored(
    acme: Engine, clock: Clock, role: str, username: str
) -> None:
    secret = access.new_principal(acme, "acme", "ann", role, now=clock.now)
    assert let_in(acme, username, secret, clock)
    assert secret not in str(row(acme, username))
    assert count(acme, tables.machine) == (role == "machine")


@pytest.mark.parametrize("role", ["ingestor", "dashboard", "enrol", "emperor", ""])
def test_no_other_role_is_given(acme: Engine, clock: Clock, role: str) -> None:
    with pytest.raises(UserError, match="cannot be given"):
        access.new_principal(acme, "acme", "ann", role, now=clock.now)


def test_a_name_that_is_taken_stays_who_it_was(acme: Engine, clock: Clock) -> None:
    secret = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    for role in ("reader", "operator"):
        with pytest.raises(UserError, match="exists already"):
            access.new_principal(acme, "acme", "ann", role, now=clock.now)
    assert let_in(acme, "acme._ann", secret, clock)


def test_who_was_revoked_may_be_added_again_with_another_secret_and_the_same_role_only(
    acme: Engine, clock: Clock
) -> None:
    first = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    access.revoke_principal(acme, "acme._ann", now=clock.now)
    with pytest.raises(UserError, match="exists already"):
        access.new_principal(acme, "acme", "ann", "operator", now=clock.now)
    second = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    assert let_in(acme, "acme._ann", second, clock)
    assert not let_in(acme, "acme._ann", first, clock)


def test_nobody_is_added_to_an_organisation_that_is_not_there(database: Engine, clock: Clock) -> None:
    with pytest.raises(UserError, match="no organisation nowhere"):
        access.new_principal(database, "nowhere", "ann", "reader", now=clock.now)
    with pytest.raises(UserError, match="no organisation nowhere"):
        tokens.new_token(database, "nowhere", uses=1, seconds=60, created_by="", now=clock.now)
    with pytest.raises(UserError, match="no organisation nowhere"):
        access.remove_org(database, "nowhere", now=clock.now)


def test_a_rotated_secret_is_good_beside_the_one_before_until_the_overlap_is_over(acme: Engine, clock: Clock) -> None:
    first = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    second = access.rotate_principal(acme, "acme._ann", overlap_seconds=DAY, now=clock.now)
    clock.advance(DAY - 1)
    assert [let_in(acme, "acme._ann", secret, clock) for secret in (first, second)] == [True, True]
    clock.advance(1)
    assert [let_in(acme, "acme._ann", secret, clock) for secret in (first, second)] == [False, True]


def test_a_second_rotation_leaves_only_the_two_newest(acme: Engine, clock: Clock) -> None:
    first = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    second = access.rotate_principal(acme, "acme._ann", overlap_seconds=DAY, now=clock.now)
    third = access.rotate_principal(acme, "acme._ann", overlap_seconds=DAY, now=clock.now)
    assert [let_in(acme, "acme._ann", s, clock) for s in (first, second, third)] == [False, True, True]


def test_a_rotation_without_an_overlap_takes_effect_at_once(acme: Engine, clock: Clock) -> None:
    first = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    second = access.rotate_principal(acme, "acme._ann", overlap_seconds=0, now=clock.now)
    assert [let_in(acme, "acme._ann", secret, clock) for secret in (first, second)] == [False, True]


def test_who_is_revoked_is_let_in_with_neither_secret_and_can_only_be_revoked_once(acme: Engine, clock: Clock) -> None:
    first = access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    second = access.rotate_principal(acme, "acme._ann", overlap_seconds=DAY, now=clock.now)
    access.revoke_principal(acme, "acme._ann", now=clock.now)
    assert [let_in(acme, "acme._ann", secret, clock) for secret in (first, second)] == [False, False]
    for change in (
        lambda: access.revoke_principal(acme, "acme._ann", now=clock.now),
        lambda: access.rotate_principal(acme, "acme._ann", overlap_seconds=1, now=clock.now),
    ):
        with pytest.raises(UserError, match="revoked already"):
            change()
    with pytest.raises(UserError, match=r"no principal acme\._bob"):
        access.revoke_principal(acme, "acme._bob", now=clock.now)


def test_the_list_of_principals_has_no_secret_no_record_and_no_token(acme: Engine, clock: Clock) -> None:
    access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    access.new_principal(acme, "other", "bob", "operator", now=clock.now)
    tokens.new_token(acme, "acme", uses=1, seconds=60, created_by="me", now=clock.now)
    assert access.list_principals(acme, "acme") == [
        {
            "username": "acme._ann",
            "role": "reader",
            "org": "acme",
            "created": clock.now(),
            "previous_until": None,
            "revoked": None,
        }
    ]
    assert [found["username"] for found in access.list_principals(acme)] == ["acme._ann", "other._bob"]
    assert "$7$" not in str(access.list_principals(acme)) + str(tokens.list_tokens(acme))


def test_the_same_secret_again_changes_nothing_and_ends_no_session(acme: Engine, clock: Clock) -> None:
    ann = Principal(Role.READER, "acme", "ann")
    access.add_principal(acme, ann, "made-up", now=clock.now)
    before = row(acme, "acme._ann")
    access.add_principal(acme, ann, "made-up", now=clock.now)
    assert row(acme, "acme._ann") == before
    access.add_principal(acme, ann, "another", now=clock.now)
    assert verify_secret("another", row(acme, "acme._ann").secret_hash)


def test_who_is_revoked_is_only_revived_on_purpose(acme: Engine, clock: Clock) -> None:
    ann = Principal(Role.READER, "acme", "ann")
    access.add_principal(acme, ann, "made-up", now=clock.now)
    access.revoke_principal(acme, "acme._ann", now=clock.now)
    access.add_principal(acme, ann, "made-up", now=clock.now, revive=False)
    assert not let_in(acme, "acme._ann", "made-up", clock)
    access.add_principal(acme, ann, "made-up", now=clock.now)
    assert let_in(acme, "acme._ann", "made-up", clock)


def test_removing_an_organisation_takes_all_of_it_and_nothing_of_another(acme: Engine, clock: Clock) -> None:
    secrets = {}
    for org in ("acme", "other"):
        secrets[f"{org}.attic"] = access.new_principal(acme, org, "attic", "machine", now=clock.now)
        secrets[f"{org}._ann"] = access.new_principal(acme, org, "ann", "reader", now=clock.now)
        tokens.new_token(acme, org, uses=1, seconds=60, created_by="me", now=clock.now)
    with acme.begin() as connection:
        for machine_id in connection.scalars(select(tables.machine.c.id)).all():
            connection.execute(
                tables.transition.insert().values(
                    machine_id=machine_id, at=1, before="unknown", after="online", reason="", session=1
                )
            )
    access.remove_org(acme, "acme", now=clock.now)
    assert [found["org"] for found in access.list_orgs(acme)] == ["other"]
    assert [found["org"] for found in tokens.list_tokens(acme)] == ["other"]
    assert (count(acme, tables.machine), count(acme, tables.transition)) == (1, 1)
    good = [name for name, secret in secrets.items() if let_in(acme, name, secret, clock)]
    assert good == ["other.attic", "other._ann"]


def test_an_organisation_that_is_made_again_begins_with_nobody(acme: Engine, clock: Clock) -> None:
    secret = access.new_principal(acme, "acme", "attic", "machine", now=clock.now)
    access.remove_org(acme, "acme", now=clock.now)
    access.new_org(acme, "acme", now=clock.now)
    assert access.list_principals(acme, "acme") == []
    assert not let_in(acme, "acme.attic", secret, clock)
    access.new_principal(acme, "acme", "attic", "machine", now=clock.now)


def test_a_token_is_a_principal_that_may_only_enrol(acme: Engine, clock: Clock) -> None:
    token = tokens.new_token(acme, "acme", uses=3, seconds=3600, created_by="ann", now=clock.now)
    username = f"acme._{token.name}"
    assert let_in(acme, username, token.secret, clock)
    assert row(acme, username).role == Role.ENROL
    assert tokens.list_tokens(acme) == [
        {
            "token": username,
            "org": "acme",
            "uses": 3,
            "used": 0,
            "created": clock.now(),
            "created_by": "ann",
            "expires": clock.now() + 3_600_000,
            "revoked": None,
        }
    ]


@pytest.mark.parametrize(("uses", "seconds"), [(0, 60.0), (10_001, 60.0), (1, 0.0), (1, 31 * DAY)])
def test_a_token_that_makes_too_much_or_lives_too_long_is_not_made(
    acme: Engine, clock: Clock, uses: int, seconds: float
) -> None:
    with pytest.raises(UserError):
        tokens.new_token(acme, "acme", uses=uses, seconds=seconds, created_by="", now=clock.now)


def test_a_revoked_token_lets_nobody_in(acme: Engine, clock: Clock) -> None:
    token = tokens.new_token(acme, "acme", uses=3, seconds=3600, created_by="", now=clock.now)
    name = f"acme._{token.name}"
    tokens.revoke_token(acme, name, now=clock.now)
    assert not let_in(acme, name, token.secret, clock)
    with pytest.raises(UserError, match="revoked already"):
        tokens.revoke_token(acme, name, now=clock.now)


def test_only_a_token_is_revoked_as_one(acme: Engine, clock: Clock) -> None:
    access.new_principal(acme, "acme", "ann", "reader", now=clock.now)
    with pytest.raises(UserError, match=r"no token acme\._ann"):
        tokens.revoke_token(acme, "acme._ann", now=clock.now)


def test_the_record_of_a_secret_is_never_the_same_twice() -> None:
    assert hash_secret("made-up") != hash_secret("made-up")
