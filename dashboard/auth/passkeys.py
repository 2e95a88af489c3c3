"""Passkeys (WebAuthn): registered on the account page, and used at the sign-in.

Invariants:
- A challenge is used once, within five minutes, by the session or pending sign-in that it was made for.
- A passkey is bound to the host name and origin of the dashboard by the browser; both are checked here.
- The library takes 5 MiB and most users have no passkey: it is imported when the first one is used.
- A signature counter that does not grow is refused by the library: the passkey may have been copied.
"""

import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from dashboard.auth.auth_database import passkey, passkey_challenge
from dashboard.auth.users import User
from runtime.clock import Clock
from schemas.database.queries.fetch import fetch_all

PASSKEYS_MAX: Final = 10
"""Maximum number of passkeys of a user."""

TITLE_MAX: Final = 64
_NAME: Final = "DashFleet"
_CHALLENGE_MILLISECONDS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Site:
    """The dashboard as a browser sees it: its host name, which must be a name and not an address, and its origin."""

    host: str
    origin: str


class Passkeys:
    """The passkeys in one auth database. `key`: the session or pending sign-in that a challenge is made for."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def listed(self, who: User) -> list[Row[Any]]:
        """Return a user's passkeys, the oldest first: id, title, created_at, used_at."""
        query = select(passkey).where(passkey.c.user_id == who.id)
        return fetch_all(self._engine, query.order_by(passkey.c.created_at, passkey.c.id))

    def registration(self, who: User, key: str, site: Site) -> str:
        """Return the options with which a browser makes a passkey, as JSON."""
        challenge, options = _registration_options(site.host, who.id, who.name, self._ids(who))
        self._remember(who, key, challenge)
        return options

    def register(self, connection: Connection, who: User, key: str, site: Site, answer: str, title: str) -> bool:
        """Store the passkey that a browser made; return False if the answer is invalid or there are too many."""
        challenge = self._take(connection, who, key)
        held = connection.execute(select(func.count()).where(passkey.c.user_id == who.id)).scalar_one()
        if challenge is None or held >= PASSKEYS_MAX:
            return False
        made = _made_passkey(answer, challenge, site.host, site.origin)
        if made is None:
            return False
        row = {**made, "user_id": who.id, "created_at": self._clock.now()}
        if connection.execute(select(passkey.c.id).where(passkey.c.id == row["id"])).first() is not None:
            return False
        connection.execute(insert(passkey).values(**row, title=" ".join(title.split())[:TITLE_MAX]))
        return True

    def authentication(self, who: User, key: str, site: Site) -> str:
        """Return the options with which a browser uses a passkey of this user, as JSON."""
        challenge, options = _authentication_options(site.host, self._ids(who))
        self._remember(who, key, challenge)
        return options

    def accept(self, who: User, key: str, site: Site, answer: str) -> bool:
        """Return True if a browser answers the challenge with a passkey of this user."""
        with self._engine.begin() as connection:
            challenge = self._take(connection, who, key)
        if challenge is None:
            return False
        held = {each.id: each for each in self.listed(who)}
        known = {id_: (each.public_key, each.sign_count) for id_, each in held.items()}
        used = _used_passkey(answer, challenge, site.host, site.origin, known)
        if used is None:
            return False
        row = held[used[0]]
        values = {"sign_count": used[1], "used_at": self._clock.now()}
        same = (passkey.c.id == row.id) & (passkey.c.sign_count == row.sign_count)
        with self._engine.begin() as connection:
            return bool(connection.execute(update(passkey).where(same).values(values)).rowcount)

    def _ids(self, who: User) -> list[str]:
        return [each.id for each in self.listed(who)]

    def _remember(self, who: User, key: str, challenge: str) -> None:
        now = self._clock.now()
        row = {"key": key, "user_id": who.id, "challenge": challenge, "created_at": now}
        old = passkey_challenge.c.created_at <= now - _CHALLENGE_MILLISECONDS
        with self._engine.begin() as connection:
            connection.execute(delete(passkey_challenge).where(old | (passkey_challenge.c.key == key)))
            connection.execute(insert(passkey_challenge).values(row))

    def _take(self, connection: Connection, who: User, key: str) -> str | None:
        """Return the challenge that was made for this key, and forget it."""
        mine = (passkey_challenge.c.key == key) & (passkey_challenge.c.user_id == who.id)
        alive = passkey_challenge.c.created_at > self._clock.now() - _CHALLENGE_MILLISECONDS
        row = connection.execute(select(passkey_challenge.c.challenge).where(mine, alive)).first()
        taken = connection.execute(delete(passkey_challenge).where(mine)).rowcount
        return str(row.challenge) if row is not None and taken else None


def _registration_options(host: str, user_id: int, user_name: str, held: Collection[str]) -> tuple[str, str]:
    """Return a challenge, and the options with which a browser makes a passkey, as JSON. `held`: ids of passkeys."""
    import webauthn
    from webauthn.helpers import structs

    options = webauthn.generate_registration_options(
        rp_id=host,
        rp_name=_NAME,
        user_id=str(user_id).encode(),
        user_name=user_name,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.DISCOURAGED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(held),
    )
    return _to_text(options.challenge), webauthn.options_to_json(options)


def _made_passkey(answer: str, challenge: str, host: str, origin: str) -> dict[str, Any] | None:
    """Return the `id`, `public_key` and `sign_count` of the passkey that a browser made; None if it is invalid."""
    import webauthn

    try:
        made = webauthn.verify_registration_response(
            credential=_read(answer),
            expected_challenge=_from_text(challenge),
            expected_rp_id=host,
            expected_origin=origin,
        )
    except _invalid():
        return None
    return {
        "id": _to_text(made.credential_id),
        "public_key": _to_text(made.credential_public_key),
        "sign_count": made.sign_count,
    }


def _authentication_options(host: str, held: Collection[str]) -> tuple[str, str]:
    """Return a challenge, and the options with which a browser uses one of these passkeys, as JSON."""
    import webauthn

    options = webauthn.generate_authentication_options(rp_id=host, allow_credentials=_descriptors(held))
    return _to_text(options.challenge), webauthn.options_to_json(options)


def _used_passkey(
    answer: str, challenge: str, host: str, origin: str, known: Mapping[str, tuple[str, int]]
) -> tuple[str, int] | None:
    """Return the id and the new counter of the passkey that a browser used; None if its answer is invalid.

    `known`: the public key and the counter of each passkey that may be used, by id.
    """
    import webauthn

    try:
        given = _read(answer)
        public_key, sign_count = known[given["id"]]
        used = webauthn.verify_authentication_response(
            credential=given,
            expected_challenge=_from_text(challenge),
            expected_rp_id=host,
            expected_origin=origin,
            credential_public_key=_from_text(public_key),
            credential_current_sign_count=sign_count,
        )
    except _invalid():
        return None
    return given["id"], used.new_sign_count


def _descriptors(held: Collection[str]) -> list[Any]:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return [PublicKeyCredentialDescriptor(id=_from_text(each)) for each in held]


def _read(answer: str) -> dict[str, Any]:
    """Return the answer of a browser. Raises ValueError if it is not a JSON object."""
    given = json.loads(answer)
    if not isinstance(given, dict):
        raise ValueError("the answer of the browser is not an object")
    return given


def _invalid() -> tuple[type[Exception], ...]:
    """Return the errors that an invalid answer of a browser causes."""
    from webauthn.helpers.exceptions import WebAuthnException

    known = (WebAuthnException, ValueError, LookupError, TypeError, AttributeError)
    return (*known, ArithmeticError, EOFError, RecursionError, struct.error)


def _to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _from_text(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
