"""A machine's place in the fleet: who gets one, and which."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clocks import Clock
from servers import postgresql
from sqlalchemy import Engine, func, select

from broker.access.credentials import hash_secret, new_secret
from broker.access.principals import TableDirectory
from ingestor.admin import access, tokens
from ingestor.admin.enrolment import enrol
from ingestor.admin.key_changes import add_key, revoke_key
from runtime.urls import sqlite_url
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest
from schemas.contract.signing import new_key, public_key
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

RECORD = hash_secret("made-up")
NONCES = (f"{number:032x}" for number in range(1, 1_000_000))


def request(machine: str = "attic", *, nonce: str | None = None, record: str = RECORD) -> EnrolRequest:
    return EnrolRequest(nonce=nonce or next(NONCES), machine=machine, hostname="attic.example", secret_hash=record)


@pytest.fixture
def acme(database: Engine, clock: Clock) -> Engine:
    access.new_org(database, "acme", now=clock.now)
    access.new_org(database, "other", now=clock.now)
    return database


def make_token(engine: Engine, clock: Clock, *, uses: int = 1, seconds: float = 3600, org: str = "acme") -> str:
    token = tokens.new_token(engine, org, uses=uses, seconds=seconds, created_by="", now=clock.now)
    return f"{org}._{token.name}"


def ask(engine: Engine, clock: Clock, token: str, wanted: EnrolRequest | None = None) -> EnrolAnswer:
    answer = enrol(engine, token.partition(".")[0], token, wanted or request(), clock.now())
    assert answer is not None
    return answer


def test_a_machine_gets_the_name_it_asks_for_and_is_let_in_with_its_own_secret(acme: Engine, clock: Clock) -> None:
    secret = new_secret()
    answer = ask(acme, clock, make_token(acme, clock), request(record=hash_secret(secret)))
    assert (answer.machine, answer.refused) == ("attic", "")
    directory = TableDirectory(acme, clock=clock)
    directory.refresh()
    entry = directory.find("acme.attic")
    assert entry is not None
    assert entry.record_of(secret) is not None
    assert access.list_orgs(acme)[0]["machines"] == 1


def test_the_same_request_gets_the_same_answer_and_makes_one_machine(acme: Engine, clock: Clock) -> None:
    token, wanted = make_token(acme, clock), request()
    first = ask(acme, clock, token, wanted)
    clock.advance(7200)  # also when the token has expired meanwhile, and is used up
    assert ask(acme, clock, token, wanted) == first
    assert access.list_orgs(acme)[0]["machines"] == 1
    assert tokens.list_tokens(acme)[0]["used"] == 1


def test_a_name_that_is_taken_gets_a_number(acme: Engine, clock: Clock) -> None:
    token = make_token(acme, clock, uses=10)
    access.new_principal(acme, "acme", "attic-3", "machine", now=clock.now)
    names = [ask(acme, clock, token).machine for _ in range(3)]
    assert names == ["attic", "attic-2", "attic-4"]


def test_a_name_of_another_organisation_or_of_somebody_who_is_no_machine_is_free(acme: Engine, clock: Clock) -> None:
    access.new_principal(acme, "other", "attic", "machine", now=clock.now)
    access.new_principal(acme, "acme", "attic", "reader", now=clock.now)
    assert ask(acme, clock, make_token(acme, clock)).machine == "attic"


def test_the_name_of_a_revoked_machine_is_not_given_again(acme: Engine, clock: Clock) -> None:
    access.new_principal(acme, "acme", "attic", "machine", now=clock.now)
    access.revoke_principal(acme, "acme.attic", now=clock.now)
    assert ask(acme, clock, make_token(acme, clock)).machine == "attic-2"


def test_a_long_name_stays_within_what_an_id_may_have(acme: Engine, clock: Clock) -> None:
    token, longest = make_token(acme, clock, uses=2), "a" * 56 + "-" + "b" * 6
    names = [ask(acme, clock, token, request(longest)).machine for _ in range(2)]
    assert names == [longest, "a" * 56 + "-2"]


def test_a_token_that_is_used_up_makes_no_more(acme: Engine, clock: Clock) -> None:
    token = make_token(acme, clock, uses=2)
    answers = [ask(acme, clock, token) for _ in range(3)]
    assert [answer.refused for answer in answers] == ["", "", "used-up"]
    assert answers[2].machine is None
    assert access.list_orgs(acme)[0]["machines"] == 2


def test_a_token_expires_at_its_time(acme: Engine, clock: Clock) -> None:
    token = make_token(acme, clock, uses=2, seconds=60)
    clock.advance(59.999)
    assert ask(acme, clock, token).machine == "attic"
    clock.advance(0.001)
    assert ask(acme, clock, token).refused == "expired"


def test_a_token_of_another_organisation_or_a_revoked_one_gets_no_answer(acme: Engine, clock: Clock) -> None:
    token = make_token(acme, clock)
    assert enrol(acme, "nowhere", token, request(), clock.now()) is None
    assert enrol(acme, "acme", "acme._nobody", request(), clock.now()) is None
    tokens.revoke_token(acme, token, now=clock.now)
    assert enrol(acme, "acme", token, request(), clock.now()) is None
    assert access.list_orgs(acme)[0]["machines"] == 0


def test_another_tokens_nonce_says_nothing(acme: Engine, clock: Clock) -> None:
    """Who has a token cannot learn, or take over, what another token made."""
    first, second = make_token(acme, clock), make_token(acme, clock, seconds=1)
    wanted = request()
    ask(acme, clock, first, wanted)
    clock.advance(2)
    assert ask(acme, clock, second, wanted).refused == "expired"
    third = make_token(acme, clock)
    assert enrol(acme, "acme", third, wanted, clock.now()) is None
    assert [token["used"] for token in tokens.list_tokens(acme)] == [1, 0, 0]


def test_the_answer_carries_the_keys_in_force(acme: Engine, clock: Clock) -> None:
    first, second, third = new_key(), new_key(), new_key()
    first_id = add_key(acme, "acme", first, name="first", signer=None, expires_at=None, now=clock.now)
    add_key(acme, "acme", second, name="second", signer=first, expires_at=None, now=clock.now)
    add_key(acme, "acme", third, name="third", signer=first, expires_at=clock.now() + 1000, now=clock.now)
    revoke_key(acme, "acme", first_id, signer=second, now=clock.now)
    clock.advance(2)
    answer = ask(acme, clock, make_token(acme, clock))
    assert [(key.public_key, key.name) for key in answer.keys] == [(public_key(second), "second")]
    assert ask(acme, clock, make_token(acme, clock, org="other")).keys == ()


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that many processes may use."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "shared.db")
    return str(request.getfixturevalue("postgresql_url"))


@pytest.mark.parametrize("uses", [1, 7])
def test_fifty_at_once_with_one_token_make_exactly_as_many_machines_as_it_may(
    shared: str, clock: Clock, uses: int
) -> None:
    engine = open_engine(shared)
    upgrade(engine)
    org = f"acme-{uses}"
    access.add_org(engine, org, now=clock.now)
    token = make_token(engine, clock, uses=uses, org=org)

    def one(_: int) -> EnrolAnswer | None:
        mine = open_engine(shared)
        try:
            return enrol(mine, org, token, request(), clock.now())
        finally:
            mine.dispose()

    with ThreadPoolExecutor(50) as pool:
        answers = [answer for answer in pool.map(one, range(50)) if answer is not None]
    made = sorted(answer.machine for answer in answers if answer.machine)
    assert len(answers) == 50
    assert made == sorted(["attic", *(f"attic-{number}" for number in range(2, uses + 1))])
    assert [answer.refused for answer in answers if not answer.machine] == ["used-up"] * (50 - uses)
    with engine.connect() as connection:
        machines = select(func.count()).select_from(tables.machine.join(tables.org)).where(tables.org.c.name == org)
        assert connection.scalar(machines) == uses
    assert tokens.list_tokens(engine, org)[0]["used"] == uses
    engine.dispose()


def test_one_request_that_comes_fifty_times_at_once_makes_one_machine(shared: str, clock: Clock) -> None:
    engine = open_engine(shared)
    upgrade(engine)
    access.add_org(engine, "again", now=clock.now)
    token, wanted = make_token(engine, clock, uses=50, org="again"), request()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: enrol(engine, "again", token, wanted, clock.now()), range(50)))
    assert {answer.machine for answer in answers if answer} == {"attic"}
    assert tokens.list_tokens(engine, "again")[0]["used"] == 1
    engine.dispose()
