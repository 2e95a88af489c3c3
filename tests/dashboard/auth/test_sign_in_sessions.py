from pathlib import Path

import pytest
from clocks import Clock
from sqlalchemy import Engine, delete

from dashboard.auth.auth_database import user
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import User, UserRole, add_user, remove_user, set_password, verify

pytestmark = pytest.mark.usefixtures("quick_hashing")
HOUR = 3600


@pytest.fixture
def person(accounts: Engine) -> User:
    add_user(accounts, "ada", "correct horse battery", UserRole.OPERATOR, "acme")
    found = verify(accounts, "ada", "correct horse battery")
    assert found is not None
    return found


@pytest.fixture
def sessions(accounts: Engine, clock: Clock) -> SignInSessions:
    return SignInSessions(accounts, clock, idle_seconds=8 * HOUR, max_seconds=24 * HOUR)


def test_a_token_leads_to_its_person(sessions: SignInSessions, person: User) -> None:
    found = sessions.find(sessions.start(person))
    assert found is not None
    assert found.user == person


def test_an_unknown_token_leads_to_nobody(sessions: SignInSessions, person: User) -> None:
    sessions.start(person)
    assert sessions.find("made-up") is None


def test_the_token_is_not_in_the_database(sessions: SignInSessions, person: User, accounts: Engine) -> None:
    token = sessions.start(person)
    directory = Path(accounts.url.database or "").parent
    assert not any(token.encode() in file.read_bytes() for file in directory.iterdir())


def test_a_session_that_is_not_used_ends(sessions: SignInSessions, person: User, clock: Clock) -> None:
    token = sessions.start(person)
    clock.advance(8 * HOUR - 1)
    assert sessions.find(token)
    clock.advance(1)
    assert sessions.find(token) is None


def test_using_a_session_keeps_it_but_asking_does_not(sessions: SignInSessions, person: User, clock: Clock) -> None:
    used, asked = sessions.start(person), sessions.start(person)
    for _ in range(3):
        clock.advance(4 * HOUR)
        sessions.find(used, used=True)
        sessions.find(asked)
    assert sessions.find(used)
    assert sessions.find(asked) is None


def test_a_session_ends_after_its_absolute_age(sessions: SignInSessions, person: User, clock: Clock) -> None:
    token = sessions.start(person)
    for _ in range(8):
        clock.advance(3 * HOUR)
        sessions.find(token, used=True)
    assert sessions.find(token) is None


def test_signing_out_ends_only_that_session(sessions: SignInSessions, person: User) -> None:
    here, there = sessions.start(person), sessions.start(person)
    sessions.end(here)
    assert sessions.find(here) is None
    assert sessions.find(there)


def test_sessions_end_with_their_person(sessions: SignInSessions, person: User, accounts: Engine) -> None:
    token = sessions.start(person)
    with accounts.begin() as connection:
        connection.execute(delete(user))
    assert sessions.find(token) is None


def test_a_new_password_ends_the_sessions_of_that_person_only(
    sessions: SignInSessions, person: User, accounts: Engine
) -> None:
    add_user(accounts, "bob", "correct horse battery", UserRole.VIEWER, "acme")
    other = verify(accounts, "bob", "correct horse battery")
    assert other is not None
    token, others = sessions.start(person), sessions.start(other)
    set_password(accounts, "ada", "another horse battery")
    assert sessions.find(token) is None
    assert sessions.find(others)


def test_removing_somebody_ends_their_sessions(sessions: SignInSessions, person: User, accounts: Engine) -> None:
    token = sessions.start(person)
    remove_user(accounts, "ada")
    assert sessions.find(token) is None
