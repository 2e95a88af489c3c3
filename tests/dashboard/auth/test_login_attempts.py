import pytest
from clocks import Clock
from sqlalchemy import Engine, select

from dashboard.auth.auth_database import attempt
from dashboard.auth.login_attempts import (
    ADDRESS_FREE_FAILURES,
    NAME_FREE_FAILURES_PER_DAY,
    USER_FREE_FAILURES,
    LoginAttempts,
)

HOUR = 3600


@pytest.fixture
def attempts(accounts: Engine, clock: Clock) -> LoginAttempts:
    return LoginAttempts(accounts, clock)


def test_failures_of_a_name_at_an_address_double_the_wait(attempts: LoginAttempts, clock: Clock) -> None:
    waits = []
    for _ in range(USER_FREE_FAILURES + 4):
        wait = attempts.admit("ada", "10.0.0.1")
        waits.append(wait)
        if wait:
            clock.advance(wait)
            assert attempts.admit("ada", "10.0.0.1") == 0
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8]


def test_the_owner_elsewhere_is_not_locked_out_by_an_attacker(attempts: LoginAttempts, clock: Clock) -> None:
    until = clock.now() + 23 * HOUR * 1000
    while clock.now() < until:
        clock.advance(attempts.admit("ada", "10.0.0.1"))
        assert attempts.admit("ada", "10.0.0.2") == 0
        attempts.succeeded("ada", "10.0.0.2")


def test_guesses_from_many_addresses_are_bounded_per_name(attempts: LoginAttempts) -> None:
    waits = [attempts.admit("ada", f"10.0.{i // 200}.{i % 200}") for i in range(NAME_FREE_FAILURES_PER_DAY + 1)]
    assert waits == [0] * NAME_FREE_FAILURES_PER_DAY + [1]
    assert attempts.admit("ada", "10.1.0.1", browser="known") == 0
    assert attempts.admit("bob", "10.1.0.1") == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [("2001:db8::1", "2001:db8::ffff:2"), ("10.0.0.1", "::ffff:10.0.0.1")],
)
def test_the_addresses_of_one_network_count_as_one(attempts: LoginAttempts, first: str, second: str) -> None:
    for _ in range(USER_FREE_FAILURES):
        assert attempts.admit("ada", first) == 0
    assert attempts.admit("ada", first) > 0
    assert attempts.admit("ada", second) > 0
    assert attempts.admit("ada", "2001:db8:0:1::1") == 0


def test_the_wait_has_an_end(attempts: LoginAttempts, clock: Clock) -> None:
    for _ in range(30):
        clock.advance(attempts.admit("ada", "10.0.0.1"))
    assert 0 < max(attempts.admit("ada", "10.0.0.1") for _ in range(2)) <= 300


def test_an_address_that_tries_many_names_waits_too(attempts: LoginAttempts) -> None:
    waits = [attempts.admit(f"user{i}", "10.0.0.1") for i in range(ADDRESS_FREE_FAILURES + 1)]
    assert waits == [0] * ADDRESS_FREE_FAILURES + [1]


def test_success_forgets_the_failures_of_the_name(attempts: LoginAttempts) -> None:
    for _ in range(3 * USER_FREE_FAILURES):
        assert attempts.admit("ada", "10.0.0.1") == 0
        attempts.succeeded("ada", "10.0.0.1")


def test_failures_are_forgotten_after_a_day(attempts: LoginAttempts, clock: Clock) -> None:
    for _ in range(USER_FREE_FAILURES):
        attempts.admit("ada", "10.0.0.1")
    clock.advance(25 * HOUR)
    assert [attempts.admit("ada", "10.0.0.1") for _ in range(USER_FREE_FAILURES)] == [0] * USER_FREE_FAILURES


def rows(accounts: Engine) -> set[str]:
    with accounts.connect() as connection:
        return set(connection.scalars(select(attempt.c.key)))


def test_an_address_that_must_wait_keeps_no_name_locked_and_invents_no_rows(
    attempts: LoginAttempts, accounts: Engine
) -> None:
    for i in range(ADDRESS_FREE_FAILURES):
        attempts.admit(f"user{i}", "10.0.0.1")
    before = rows(accounts)
    assert all(attempts.admit(f"invented{i}", "10.0.0.1") for i in range(5))
    assert all(attempts.admit("ada", "10.0.0.1") for _ in range(2 * USER_FREE_FAILURES))
    assert rows(accounts) == before
    assert attempts.admit("ada", "10.0.0.2") == 0


def test_old_failures_are_swept_away_by_new_ones(attempts: LoginAttempts, accounts: Engine, clock: Clock) -> None:
    attempts.admit("ada", "10.0.0.1")
    clock.advance(25 * HOUR)
    attempts.admit("bob", "10.0.0.2")
    assert rows(accounts) == {"user:bob@10.0.0.2", "address:10.0.0.2", f"name:bob:{clock.now() // 86_400_000}"}
