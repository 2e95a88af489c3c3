"""Signed statements and the keys that an organisation's machines obey. Ed25519 (RFC 8032), with PyNaCl.

Invariants:
- A statement is verified as the bytes that were sent, before any of it is decoded.
- Each statement contains its kind, so that a signature for one purpose is invalid for another.
- A new key is accepted only with the signature of a trusted key, so that control of the broker or the database does not
  suffice to add one. A key may revoke itself.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from pydantic import Field, ValidationError

from schemas.contract.commands import OrgName
from schemas.contract.messages import ContractModel, Milliseconds, Signed
from schemas.contract.text import SignedText

PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

P = TypeVar("P", bound=ContractModel)


class SignatureError(Exception):
    """A signed statement is not valid; the message gives the reason."""


class KeyChange(ContractModel):
    """Addition or revocation of a key, signed by a trusted key. The key is obeyed until `expires_at` (null: no end)."""

    kind: Literal["key-change"] = "key-change"
    change: Literal["add", "revoke"]
    org: OrgName
    public_key: PublicKey
    name: Annotated[SignedText, Field(max_length=64)] = ""
    at: Milliseconds
    expires_at: Milliseconds | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that is obeyed until `expires_at` (milliseconds; None: no end)."""

    public_key: str
    name: str = ""
    expires_at: int | None = None

    @property
    def id(self) -> str:
        """The id of the key, as in `Signed.key`."""
        return key_id(self.public_key)


@dataclass(slots=True)
class KeyRing:
    """The trusted keys of one organisation by id. `revoked` are ids that are never trusted again."""

    org: str
    keys: dict[str, Key] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)

    def hold(self, keys: Iterable[Key]) -> None:
        """Trust these keys without a signature, as at enrolment."""
        self.keys.update({key.id: key for key in keys if key.id not in self.revoked})

    def apply(self, changes: Iterable[Signed], now: int) -> bool:
        """Apply the changes that a trusted key has signed, in their order; return whether anything changed."""
        before = (dict(self.keys), set(self.revoked))
        for signed in changes:
            try:
                change = self.open(signed, KeyChange, now)
            except SignatureError:
                continue
            if change.org == self.org:
                self._follow(change)
        return before != (self.keys, self.revoked)

    def open(self, signed: Signed, kind: type[P], now: int) -> P:
        """Return a statement that a trusted, unexpired key has signed. Raises SignatureError."""
        key = self.keys.get(signed.key)
        if key is None:
            known = "revoked" if signed.key in self.revoked else "unknown"
            raise SignatureError(f"the key {signed.key} is {known} here")
        if key.expires_at is not None and now >= key.expires_at:
            raise SignatureError(f"the key {signed.key} has expired")
        return open_signed(signed, key.public_key, kind)

    def _follow(self, change: KeyChange) -> None:
        key = Key(change.public_key, change.name, change.expires_at)
        if change.change == "revoke":
            self.keys.pop(key.id, None)
            self.revoked.add(key.id)
        elif key.id not in self.revoked:
            self.keys.setdefault(key.id, key)


def new_key() -> str:
    """Return the seed of a new private key: 64 hex digits, secret."""
    return bytes(SigningKey.generate()).hex()


def public_key(seed: str) -> str:
    """Return the public key of a seed. Raises ValueError if it is not a seed."""
    return bytes(SigningKey(bytes.fromhex(seed)).verify_key).hex()


def key_id(public: str) -> str:
    """Return the id of a public key: the start of its SHA-256."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]


def sign(statement: ContractModel, seed: str) -> Signed:
    """Sign a statement with the private key of a seed."""
    text = statement.model_dump_json()
    key = SigningKey(bytes.fromhex(seed))
    signature = key.sign(text.encode()).signature.hex()
    return Signed(statement=text, key=key_id(bytes(key.verify_key).hex()), signature=signature)


def open_signed(signed: Signed, public: str, kind: type[P]) -> P:
    """Verify a statement of this kind and return it. Raises SignatureError."""
    try:
        VerifyKey(bytes.fromhex(public)).verify(signed.statement.encode(), bytes.fromhex(signed.signature))
    except (BadSignatureError, ValueError):
        raise SignatureError("the signature does not match") from None
    try:
        return kind.model_validate_json(signed.statement)
    except ValidationError as error:
        raise SignatureError(f"the signed statement cannot be decoded: {error.errors()[0]['msg']}") from None


def keys_in_force(changes: Iterable[Signed], org: str, now: int) -> Mapping[str, Key]:
    """Return the keys in force after a list of changes, by id. The first change is a key that signed itself.

    A change is judged at its own time: what a key signed before its expiry stays valid.
    """
    ring = KeyRing(org)
    for signed in changes:
        if not ring.keys and not ring.revoked:
            ring.hold(_first(signed, org))
        ring.apply([signed], _made_at(signed, now))
    return {id_: key for id_, key in ring.keys.items() if key.expires_at is None or now < key.expires_at}


def _made_at(signed: Signed, now: int) -> int:
    try:
        return min(now, KeyChange.model_validate_json(signed.statement).at)
    except ValidationError:
        return now


def _first(signed: Signed, org: str) -> list[Key]:
    """Return the key that signed itself, the first of a list."""
    try:
        change = KeyChange.model_validate_json(signed.statement)
        open_signed(signed, change.public_key, KeyChange)
    except (ValidationError, SignatureError):
        return []
    return [Key(change.public_key, change.name, change.expires_at)] if change.org == org else []


def describe_keys(changes: Sequence[Signed], org: str, now: int) -> list[dict[str, Any]]:
    """Return every key of a list of changes, in the form that `dashfleet key list --json` documents."""
    in_force = keys_in_force(changes, org, now)
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
