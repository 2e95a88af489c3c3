import pytest
from sqlalchemy import Engine, select

from ingestor.admin.access import add_org
from ingestor.admin.key_changes import add_key, apply_signed, has_keys, list_keys, revoke_key
from runtime.errors import UserError
from schemas.contract.commands import Order
from schemas.contract.messages import Signed
from schemas.contract.signing import Key, KeyChange, KeyRing, key_id, keys_in_force, new_key, public_key, sign
from schemas.database import tables

FIRST, SECOND, STRANGER = new_key(), new_key(), new_key()
ORDER = {"id": "1" * 32, "org": "home", "machine": "attic", "action": "ping", "issued_at": 1, "expires_at": 2}


@pytest.fixture
def home(database: Engine) -> Engine:
    add_org(database, "home", now=lambda: 0)
    return database


def add(engine: Engine, seed: str, *, signer: str | None, at: int = 10, expires_at: int | None = None) -> str:
    return add_key(engine, "home", seed, signer=signer, name="ada", expires_at=expires_at, now=lambda: at)


def changes(engine: Engine) -> list[Signed]:
    with engine.connect() as connection:
        rows = connection.execute(select(tables.key_change).order_by(tables.key_change.c.id)).mappings()
        return [Signed(statement=row["statement"], key=row["key"], signature=row["signature"]) for row in rows]


def test_the_first_key_signs_for_itself_and_the_next_is_signed_by_it(home: Engine) -> None:
    assert not has_keys(home, "home")
    add(home, FIRST, signer=None)
    add(home, SECOND, signer=FIRST)
    assert set(keys_in_force(changes(home), "home", 20)) == {key_id(public_key(FIRST)), key_id(public_key(SECOND))}
    assert [key["in_force"] for key in list_keys(home, "home", now=lambda: 20)] == [True, True]


def test_a_machine_that_holds_the_first_key_follows_the_list(home: Engine) -> None:
    add(home, FIRST, signer=None)
    add(home, SECOND, signer=FIRST)
    revoke_key(home, "home", key_id(public_key(FIRST)), signer=SECOND, now=lambda: 30)
    ring = KeyRing("home")
    ring.hold([Key(public_key(FIRST))])
    assert ring.apply(changes(home), 40)
    assert set(ring.keys) == {key_id(public_key(SECOND))}


def test_nobody_adds_a_key_without_one_that_is_in_force(home: Engine) -> None:
    with pytest.raises(UserError, match="has no key yet"):
        add(home, SECOND, signer=STRANGER)
    add(home, FIRST, signer=None)
    with pytest.raises(UserError, match="not in force"):
        add(home, SECOND, signer=STRANGER)
    with pytest.raises(UserError, match="must be signed by it"):
        add(home, SECOND, signer=None)
    revoke_key(home, "home", key_id(public_key(FIRST)), signer=FIRST, now=lambda: 20)
    with pytest.raises(UserError, match="not in force"):
        add(home, SECOND, signer=FIRST)


def test_what_a_key_signed_before_it_expired_stays(home: Engine) -> None:
    add(home, FIRST, signer=None, expires_at=100)
    add(home, SECOND, signer=FIRST, at=50)
    assert set(keys_in_force(changes(home), "home", 200)) == {key_id(public_key(SECOND))}
    with pytest.raises(UserError, match="not in force"):
        add(home, STRANGER, signer=FIRST, at=150)


def test_revoking_is_said_and_what_is_unknown_is_one_sentence(home: Engine) -> None:
    id_ = add(home, FIRST, signer=None)
    with pytest.raises(UserError, match="has no key 0000"):
        revoke_key(home, "home", "0000", signer=FIRST, now=lambda: 20)
    revoke_key(home, "home", id_, signer=FIRST, now=lambda: 20)
    (key,) = list_keys(home, "home", now=lambda: 30)
    assert (key["id"], key["revoked_at"], key["in_force"]) == (id_, 20, False)
    revoke_key(home, "home", id_, signer=FIRST, now=lambda: 40)
    assert len(changes(home)) == 2, "a second time changes nothing"


def test_an_organisation_that_does_not_exist_is_one_sentence(database: Engine) -> None:
    with pytest.raises(UserError, match="no organisation home"):
        add(database, FIRST, signer=None)


def signed(seed: str, by: str, *, change: str = "add", org: str = "home", at: int = 20) -> Signed:
    """A change as somebody signs it who has this key."""
    wanted = KeyChange.model_validate({"change": change, "org": org, "public_key": public_key(seed), "at": at})
    return sign(wanted, by)


def taken(engine: Engine, change: Signed) -> str:
    with engine.begin() as connection:
        return apply_signed(connection, "home", change, 20)


def test_a_change_that_was_signed_elsewhere_is_taken_as_it_was_signed(home: Engine) -> None:
    add(home, FIRST, signer=None)
    assert taken(home, signed(SECOND, FIRST)) == f"added {key_id(public_key(SECOND))}"
    assert taken(home, signed(FIRST, SECOND, change="revoke")) == f"revoked {key_id(public_key(FIRST))}"
    assert set(keys_in_force(changes(home), "home", 30)) == {key_id(public_key(SECOND))}
    ring = KeyRing("home")
    ring.hold([Key(public_key(FIRST))])
    assert ring.apply(changes(home), 40)
    assert set(ring.keys) == {key_id(public_key(SECOND))}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (signed(SECOND, STRANGER), "is not in force in home"),
        (signed(SECOND, SECOND), "is not in force in home"),
        (signed(SECOND, FIRST).model_copy(update={"signature": "0" * 128}), "the signature does not match"),
        (signed(SECOND, FIRST, org="acme"), "it is signed for acme"),
        (signed(FIRST, FIRST), "has, or had, key"),
        (signed(SECOND, FIRST, change="revoke"), "has no key"),
        (signed(FIRST, FIRST, change="revoke"), "without a key in force"),
        (sign(Order.model_validate(ORDER), FIRST), "cannot be decoded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_that_nobody_may_make_changes_nothing(home: Engine, change: Signed, said: str) -> None:
    add(home, FIRST, signer=None)
    with pytest.raises(UserError, match=said):
        taken(home, change)
    assert len(changes(home)) == 1


def test_a_key_that_was_revoked_does_not_come_back_and_signs_nothing(home: Engine) -> None:
    add(home, FIRST, signer=None)
    taken(home, signed(SECOND, FIRST))
    taken(home, signed(FIRST, SECOND, change="revoke"))
    with pytest.raises(UserError, match="has, or had, key"):
        taken(home, signed(FIRST, SECOND))
    with pytest.raises(UserError, match="is not in force"):
        taken(home, signed(STRANGER, FIRST))
