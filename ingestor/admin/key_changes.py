"""The signing keys that an organisation's machines obey, as a list of signed changes.

Invariants:
- The list only grows: a revoked key is never added again, and machines follow the list from its start.
- The first key of an organisation signs itself; every later change is signed by a key in force.
- Only public keys are stored.
"""

from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.engine import Connection

from ingestor.admin.access import Now, org_id, require_org
from runtime.errors import UserError
from schemas.contract.messages import KEY_CHANGES_MAX, Signed
from schemas.contract.signing import (
    KeyChange,
    SignatureError,
    describe_keys,
    key_id,
    keys_in_force,
    open_signed,
    public_key,
    sign,
)
from schemas.database import tables


def add_key(
    engine: Engine, org: str, seed: str, *, signer: str | None, name: str, expires_at: int | None, now: Now
) -> str:
    """Add the key of this seed; return its id. `signer`: the seed that signs, None for the first key.

    Raises UserError if the organisation does not exist, or `signer` may not sign for it.
    """
    change = KeyChange(change="add", org=org, public_key=public_key(seed), name=name, at=now(), expires_at=expires_at)
    with engine.begin() as connection:
        _write(connection, change, signer if signer is not None else seed, first=signer is None)
    return key_id(change.public_key)


def revoke_key(engine: Engine, org: str, id_: str, *, signer: str, now: Now) -> None:
    """Revoke a key. Raises UserError."""
    with engine.begin() as connection:
        known = {row["id"]: row for row in describe_keys(signed_changes(connection, org), org, now())}
        if id_ not in known:
            raise UserError(f"{org} has no key {id_}: dashfleet key list --org {org} names them")
        if known[id_]["revoked_at"] is None:
            change = KeyChange(change="revoke", org=org, public_key=known[id_]["public_key"], at=now())
            _write(connection, change, signer, first=False)


def list_keys(engine: Engine, org: str, *, now: Now) -> list[dict[str, Any]]:
    """Return all keys, also revoked ones, in the form that `dashfleet key list --json` documents."""
    with engine.connect() as connection:
        return describe_keys(signed_changes(connection, org), org, now())


def has_keys(engine: Engine, org: str) -> bool:
    """Return whether the organisation has or had any key."""
    with engine.connect() as connection:
        return bool(signed_changes(connection, org))


def apply_signed(connection: Connection, org: str, signed: Signed, now: int) -> str:
    """Store a change that was signed elsewhere; return its description. Raises UserError.

    The last key cannot be revoked: no further change could ever be signed.
    """
    before = signed_changes(connection, org)
    key = keys_in_force(before, org, now).get(signed.key)
    if key is None:
        raise UserError(f"the key {signed.key} is not in force in {org}: it cannot sign this")
    try:
        change = open_signed(signed, key.public_key, KeyChange)
    except SignatureError as error:
        raise UserError(str(error)) from None
    known = key_id(change.public_key) in {row["id"] for row in describe_keys(before, org, now)}
    if change.org != org:
        raise UserError(f"it is signed for {change.org}, and this is {org}")
    if known == (change.change == "add"):
        raise UserError(f"{org} {'has, or had,' if known else 'has no'} key {key_id(change.public_key)}")
    if not keys_in_force([*before, signed], org, now):
        raise UserError(f"{org} would be left without a key in force: add another one first")
    _insert(connection, org, before, signed)
    return f"{'added' if change.change == 'add' else 'revoked'} {key_id(change.public_key)} {change.name}".rstrip()


def _write(connection: Connection, change: KeyChange, signer: str, *, first: bool) -> None:
    require_org(connection, change.org)
    before = signed_changes(connection, change.org)
    if first == bool(before):
        raise UserError(
            f"{change.org} has a key already: the next one must be signed by it, so name its file with --signed-by"
            if first
            else f"{change.org} has no key yet: dashfleet key create --org {change.org} makes the first"
        )
    if not first and key_id(public_key(signer)) not in keys_in_force(before, change.org, change.at):
        raise UserError(f"the key {key_id(public_key(signer))} is not in force in {change.org}: it cannot sign this")
    _insert(connection, change.org, before, sign(change, signer))


def _insert(connection: Connection, org: str, before: list[Signed], signed: Signed) -> None:
    if len(before) >= KEY_CHANGES_MAX:
        raise UserError(f"{org} has had {KEY_CHANGES_MAX} changes of keys, and its machines take no more")
    connection.execute(insert(tables.key_change).values(org_id=org_id(connection, org), **signed.model_dump()))


def signed_changes(connection: Connection, org: str) -> list[Signed]:
    """Return the changes of an organisation's keys, oldest first."""
    query = (
        select(tables.key_change.c.statement, tables.key_change.c.key, tables.key_change.c.signature)
        .join_from(tables.key_change, tables.org)
        .where(tables.org.c.name == org)
        .order_by(tables.key_change.c.id)
    )
    return [Signed.model_validate(dict(row)) for row in connection.execute(query).mappings()]
