"""Which keys an organisation's machines obey, as the admin commands write and list them.

Invariants:
- The list only grows: a key that was once revoked is never taken again, and machines follow the list from its start.
- The first key of an organisation signs for itself; every later change is signed by a key that is in force.
- Only public halves come here.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.engine import Connection

from schemas import tables
from schemas.errors import StartError
from schemas.keys import KeyChange, current, key_id, public_key, sign
from schemas.messages import KEY_CHANGES_MAX, Signed

Now = Callable[[], int]


def add_key(
    engine: Engine, org: str, seed: str, *, signer: str | None, name: str, expires_at: int | None, now: Now
) -> str:
    """Let machines obey the key of this seed; returns its id. `signer` is the seed that signs, None for the first key.

    Raises StartError when there is no such organisation, or when `signer` may not sign here.
    """
    change = KeyChange(change="add", org=org, public_key=public_key(seed), name=name, at=now(), expires_at=expires_at)
    with engine.begin() as connection:
        _write(connection, change, signer if signer is not None else seed, first=signer is None)
    return key_id(change.public_key)


def revoke_key(engine: Engine, org: str, id_: str, *, signer: str, now: Now) -> None:
    """Let machines obey this key no more. Raises StartError."""
    with engine.begin() as connection:
        known = {row["id"]: row for row in _listed(_changes(connection, org), org, now())}
        if id_ not in known:
            raise StartError(f"{org} has no key {id_}: dashfleet key list --org {org} names them")
        if known[id_]["revoked_at"] is None:
            change = KeyChange(change="revoke", org=org, public_key=known[id_]["public_key"], at=now())
            _write(connection, change, signer, first=False)


def list_keys(engine: Engine, org: str, *, now: Now) -> list[dict[str, Any]]:
    """Every key that there ever was, in the form that `dashfleet key list --json` documents."""
    with engine.connect() as connection:
        return _listed(_changes(connection, org), org, now())


def has_keys(engine: Engine, org: str) -> bool:
    """Whether the organisation has, or had, any key."""
    with engine.connect() as connection:
        return bool(_changes(connection, org))


def _write(connection: Connection, change: KeyChange, signer: str, *, first: bool) -> None:
    org_id = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == change.org))
    if org_id is None:
        raise StartError(f"there is no organisation {change.org}")
    before = _changes(connection, change.org)
    if first == bool(before):
        raise StartError(
            f"{change.org} has a key already: the next one must be signed by it, so name its file with --signed-by"
            if first
            else f"{change.org} has no key yet: dashfleet key create --org {change.org} makes the first"
        )
    if len(before) >= KEY_CHANGES_MAX:
        raise StartError(f"{change.org} has had {KEY_CHANGES_MAX} changes of keys, and its machines take no more")
    if not first and key_id(public_key(signer)) not in current(before, change.org, change.at):
        raise StartError(f"the key {key_id(public_key(signer))} is not in force in {change.org}: it cannot sign this")
    signed = sign(change, signer)
    connection.execute(insert(tables.key_change).values(org_id=org_id, **signed.model_dump()))


def _changes(connection: Connection, org: str) -> list[Signed]:
    query = (
        select(tables.key_change.c.statement, tables.key_change.c.key, tables.key_change.c.signature)
        .join_from(tables.key_change, tables.org)
        .where(tables.org.c.name == org)
        .order_by(tables.key_change.c.id)
    )
    return [Signed.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def _listed(changes: list[Signed], org: str, now: int) -> list[dict[str, Any]]:
    in_force = current(changes, org, now)
    found: dict[str, dict[str, Any]] = {}
    for signed in changes:
        change = KeyChange.model_validate_json(signed.statement)
        row = found.setdefault(key_id(change.public_key), _described(change))
        if change.change == "revoke":
            row["revoked_at"] = change.at
    return [{**row, "in_force": id_ in in_force} for id_, row in found.items()]


def _described(change: KeyChange) -> dict[str, Any]:
    return {
        "id": key_id(change.public_key),
        "name": change.name,
        "public_key": change.public_key,
        "created_at": change.at,
        "expires_at": change.expires_at,
        "revoked_at": None,
    }
