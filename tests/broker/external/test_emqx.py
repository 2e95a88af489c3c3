"""EMQX's two queries on a real PostgreSQL: they say exactly what `broker.access.policy` says."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from servers import postgresql
from sqlalchemy import Engine, text

from broker.access.credentials import ITERATIONS, KEY_BYTES, hash_secret
from broker.access.policy import NOTIFIER, Principal, Role, grants
from broker.external import emqx
from ingestor.admin.access import add_org, add_principal
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

PRINCIPALS = [
    Principal(Role.MACHINE, "home", "attic"),
    Principal(Role.MACHINE, "home", "org"),
    Principal(Role.MACHINE, "name", "attic"),
    Principal(Role.READER, "home", "grafana"),
    Principal(Role.OPERATOR, "home", "ann"),
    Principal(Role.ENROL, "home", "spring"),
    Principal(Role.DASHBOARD, "", "dashboard"),
    NOTIFIER,
    Principal(Role.INGESTOR, "", "ingestor"),
]
NONCE = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def fleet() -> Iterator[Engine]:
    """A fleet database with these principals, each with its own user name as the secret."""
    with postgresql() as url:
        engine = open_engine(url)
        upgrade(engine)
        for org in ("home", "name"):
            add_org(engine, org, now=lambda: 1)
        for principal in PRINCIPALS:
            add_principal(engine, principal, principal.username, now=lambda: 1)
        yield engine
        engine.dispose()


def ask(engine: Engine, query: str, username: str, client_id: str | None = None) -> list[dict[str, Any]]:
    """What a query answers. EMQX makes a prepared statement of it, in which each placeholder is bound as text."""
    named = re.sub(r"\$\{(\w+)\}", r"CAST(:\1 AS text)", query.replace(":", r"\:"))
    given = {"username": username, "clientid": client_id if client_id is not None else username}
    with engine.connect() as connection:
        wanted = {name: value for name, value in given.items() if f":{name}" in named}
        return [dict(row) for row in connection.execute(text(named), wanted).mappings()]


def lets_in(engine: Engine, username: str, secret: str, client_id: str | None = None) -> bool:
    """What EMQX makes of the answer: PBKDF2 with the salt as text, compared with the key in hexadecimal digits."""
    rows = ask(engine, emqx.AUTHENTICATION, username, client_id)
    return any(
        hashlib.pbkdf2_hmac("sha512", secret.encode(), row["salt"].encode(), ITERATIONS, KEY_BYTES).hex()
        == row["password_hash"]
        for row in rows
    )


def client_id(principal: Principal) -> str:
    return f"{principal.username}.{NONCE}" if principal.role is Role.ENROL else principal.username


@pytest.mark.parametrize("principal", PRINCIPALS, ids=lambda principal: principal.username)
def test_a_principal_may_do_what_its_grants_say_and_nothing_else(fleet: Engine, principal: Principal) -> None:
    rows = ask(fleet, emqx.authorization(), principal.username)
    assert {row["permission"] for row in rows} == {"allow"}
    said = {action: {row["topic"] for row in rows if row["action"] == action} for action in ("publish", "subscribe")}
    granted = grants(principal)
    assert said == {"publish": set(granted.publish), "subscribe": set(granted.read)}
    assert len(rows) == len(granted.publish) + len(granted.read)


@pytest.mark.parametrize("principal", PRINCIPALS, ids=lambda principal: principal.username)
def test_a_principal_is_let_in_with_its_secret_under_its_client_id(fleet: Engine, principal: Principal) -> None:
    assert lets_in(fleet, principal.username, principal.username, client_id(principal))
    assert not lets_in(fleet, principal.username, "wrong", client_id(principal))


@pytest.mark.parametrize(
    "called",
    [
        "",
        "home.attic",
        "home._spring.x",
        f"home._spring.{NONCE}0",
        f"home._spring.{NONCE[:-1]}",
        f"home._other.{NONCE}",
    ],
)
@pytest.mark.parametrize("principal", PRINCIPALS, ids=lambda principal: principal.username)
def test_a_client_id_is_good_when_the_principal_may_be_called_so(
    fleet: Engine, principal: Principal, called: str
) -> None:
    assert lets_in(fleet, principal.username, principal.username, called) == principal.may_be_called(called)


@pytest.mark.parametrize(
    "changed",
    [
        {"revoked_at": 5},
        {"role": "enrol"},
        {"role": "king"},
        {"org": "work"},
        {"name": "cellar"},
        {"name": "_attic"},
        {"org": "", "name": "home.attic"},
    ],
    ids=str,
)
def test_a_row_that_is_revoked_or_contradicts_itself_is_nobody(fleet: Engine, changed: dict[str, Any]) -> None:
    own = tables.principal.c.username == "home.attic"
    with fleet.begin() as connection:
        before = dict(connection.execute(tables.principal.select().where(own)).mappings().one())
        connection.execute(tables.principal.update().where(own).values(changed))
    try:
        for called in ("home.attic", f"home.attic.{NONCE}"):
            assert not lets_in(fleet, "home.attic", "home.attic", called)
        assert ask(fleet, emqx.authorization(), "home.attic") == []
    finally:
        with fleet.begin() as connection:
            connection.execute(tables.principal.update().where(own).values(before))


@pytest.mark.parametrize("record", [hash_secret("home.attic").replace("$101$", "$100$"), "", "$7$101$", "$6$101$a$b"])
def test_a_record_that_emqx_would_read_wrongly_lets_nobody_in(fleet: Engine, record: str) -> None:
    own = tables.principal.c.username == "home.attic"
    with fleet.begin() as connection:
        before = connection.scalar(
            tables.principal.select().with_only_columns(tables.principal.c.secret_hash).where(own)
        )
        connection.execute(tables.principal.update().where(own).values(secret_hash=record))
    try:
        assert not lets_in(fleet, "home.attic", "home.attic")
    finally:
        with fleet.begin() as connection:
            connection.execute(tables.principal.update().where(own).values(secret_hash=before))


def test_whoever_is_not_there_gets_nothing(fleet: Engine) -> None:
    for username in ("", "home.nobody", "home.attic' OR '1'='1", "%"):
        assert ask(fleet, emqx.AUTHENTICATION, username) == []
        assert ask(fleet, emqx.authorization(), username) == []


def test_the_configuration_denies_what_nothing_allows_and_holds_no_password() -> None:
    printed = emqx.configuration(server="db:5432", database="fleet", username="emqx")
    assert 'authorization.no_match = "deny"' in printed
    assert 'server = "db:5432"' in printed
    assert emqx.AUTHENTICATION in printed
    assert emqx.authorization() in printed
    assert not re.search(r"^\s*password\s*=", printed, re.MULTILINE)
