"""The keys that a machine trusts, and that only signed changes add to them."""

import errno
import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from agent.orders.trusted_keys import KEYS_FILE, TrustedKeys, write_keys
from runtime import files
from schemas.contract.commands import Order
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import Signed
from schemas.contract.signing import KeyChange, SignatureError, key_id, new_key, public_key, sign

NOW = 1_700_000_000_000
SEED, OTHER, STRANGER = new_key(), new_key(), new_key()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "agent" / KEYS_FILE
    write_keys(found, "home", [EnrolledKey(public_key=public_key(SEED), name="first")])
    return found


def change(what: str, seed: str, *, by: str, org: str = "home", expires_at: int | None = None) -> Signed:
    values = {"change": what, "org": org, "public_key": public_key(seed), "at": NOW, "expires_at": expires_at}
    return sign(KeyChange.model_validate(values), by)


def order(seed: str) -> Signed:
    return sign(Order(id="1" * 32, org="home", machine="attic", action="ping", issued_at=NOW, expires_at=NOW + 1), seed)


def obeys(keys: TrustedKeys, seed: str, now: int = NOW) -> bool:
    try:
        keys.open(order(seed), Order, now)
    except SignatureError:
        return False
    return True


def test_the_keys_of_the_enrolment_are_obeyed_and_nobody_else(path: Path) -> None:
    keys = TrustedKeys(path, "home")

    assert keys.ids == (key_id(public_key(SEED)),)
    assert obeys(keys, SEED)
    assert not obeys(keys, STRANGER)


def test_the_file_is_its_owners_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_taken_when_a_held_one_has_signed_for_it_and_stays_after_a_restart(path: Path) -> None:
    keys = TrustedKeys(path, "home")

    assert keys.apply([change("add", OTHER, by=SEED)], NOW)
    assert obeys(keys, OTHER)
    assert obeys(TrustedKeys(path, "home"), OTHER)
    assert not keys.apply([change("add", OTHER, by=SEED)], NOW)


def test_a_key_that_signed_for_itself_or_by_a_stranger_or_for_another_organisation_is_not_taken(path: Path) -> None:
    keys = TrustedKeys(path, "home")
    changes = [
        change("add", STRANGER, by=STRANGER),
        change("add", OTHER, by=STRANGER),
        change("add", STRANGER, by=SEED, org="work"),
    ]

    assert not keys.apply(changes, NOW)
    assert not obeys(keys, STRANGER)
    assert not obeys(keys, OTHER)


def test_a_revoked_key_is_never_taken_again_also_after_a_restart(path: Path) -> None:
    keys = TrustedKeys(path, "home")
    keys.apply([change("add", OTHER, by=SEED), change("revoke", OTHER, by=SEED)], NOW)
    again = TrustedKeys(path, "home")

    for found in (keys, again):
        assert not found.apply([change("add", OTHER, by=SEED)], NOW)
        assert not obeys(found, OTHER)


def test_a_key_may_sign_its_own_end(path: Path) -> None:
    keys = TrustedKeys(path, "home")
    keys.apply([change("revoke", SEED, by=SEED)], NOW)

    assert keys.ids == ()
    assert TrustedKeys(path, "home").ids == ()


def test_a_key_is_obeyed_until_it_expires(path: Path) -> None:
    keys = TrustedKeys(path, "home")
    keys.apply([change("add", OTHER, by=SEED, expires_at=NOW + 1000)], NOW)

    assert obeys(keys, OTHER, NOW + 999)
    assert not obeys(keys, OTHER, NOW + 1000)


def test_without_a_file_nothing_is_obeyed(tmp_path: Path) -> None:
    assert not obeys(TrustedKeys(tmp_path / KEYS_FILE, "home"), SEED)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"org": "home", "keys": [{"public_key": "no"}]}', "\xff"])
def test_a_damaged_file_means_that_nothing_is_obeyed_and_stays_for_inspection(path: Path, content: str) -> None:
    path.write_bytes(content.encode("latin-1"))
    keys = TrustedKeys(path, "home")

    assert not keys.apply([change("add", OTHER, by=SEED), change("add", OTHER, by=OTHER)], NOW)
    assert not obeys(keys, SEED)
    assert path.read_bytes() == content.encode("latin-1")


def test_another_organisations_keys_are_not_obeyed(path: Path) -> None:
    assert not obeys(TrustedKeys(path, "work"), SEED)


def test_a_file_that_others_can_write_is_not_obeyed(path: Path) -> None:
    path.chmod(0o666)

    assert not obeys(TrustedKeys(path, "home"), SEED)


def test_a_change_that_could_not_be_written_is_in_force_and_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = TrustedKeys(path, "home")
    added = [change("add", OTHER, by=SEED)]
    with monkeypatch.context() as full_disk:
        full_disk.setattr(files, "replace", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        assert keys.apply(added, NOW)
    assert obeys(keys, OTHER)
    assert len(json.loads(path.read_text())["keys"]) == 1

    assert not keys.apply(added, NOW)
    assert obeys(TrustedKeys(path, "home"), OTHER)
