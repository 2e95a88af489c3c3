"""Passkeys (WebAuthn): registered on the account page, and used at the sign-in.

Invariants:
- A challenge is used once, within five minutes, by the session or pending sign-in that it was made for.
- A passkey is bound to the host name and origin of the dashboard by the browser; both are checked here.
- A signature counter that does not grow is refused by the library: the passkey may have been copied.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

import webauthn
from sqlalchemy import Engine, Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from dashboard.auth.auth_database import passkey, passkey_challenge
from dashboard.auth.users import User
from runtime.clock import Clock
from schemas.database.queries.fetch import fetch_all

PASSKEYS_MAX: Final = 10
"""Maximum number of passkeys of a user."""

TITLE_MAX: Final = 64
_CHALLENGE_MILLISECONDS: Final = 300_000
_NAME: Final = "DashFleet"
_INVALID: Final = (
    *(WebAuthnException, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, EOFError, RecursionError, struct.error),
)
"""The errors that an invalid answer of a browser causes."""


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
        options = webauthn.generate_registration_options(
            rp_id=site.host,
            rp_name=_NAME,
            user_id=str(who.id).encode(),
            user_name=who.name,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.PREFERRED
            ),
            exclude_credentials=self._descriptors(who),
        )
        self._remember(who, key, options.challenge)
        return webauthn.options_to_json(options)

    def register(self, connection: Connection, who: User, key: str, site: Site, answer: str, title: str) -> bool:
        """Store the passkey that a browser made; return False if the answer is invalid or there are too many."""
        challenge = self._take(connection, who, key)
        held = connection.execute(select(func.count()).where(passkey.c.user_id == who.id)).scalar_one()
        if challenge is None or held >= PASSKEYS_MAX:
            return False
        try:
            made = webauthn.verify_registration_response(
                credential=_read(answer),
                expected_challenge=challenge,
                expected_rp_id=site.host,
                expected_origin=site.origin,
            )
        except _INVALID:
            return False
        row = {"id": bytes_to_base64url(made.credential_id), "user_id": who.id, "sign_count": made.sign_count}
        row |= {"public_key": bytes_to_base64url(made.credential_public_key), "created_at": self._clock.now()}
        if connection.execute(select(passkey.c.id).where(passkey.c.id == row["id"])).first() is not None:
            return False
        connection.execute(insert(passkey).values(**row, title=" ".join(title.split())[:TITLE_MAX]))
        return True

    def authentication(self, who: User, key: str, site: Site) -> str:
        """Return the options with which a browser uses a passkey of this user, as JSON."""
        options = webauthn.generate_authentication_options(rp_id=site.host, allow_credentials=self._descriptors(who))
        self._remember(who, key, options.challenge)
        return webauthn.options_to_json(options)

    def accept(self, who: User, key: str, site: Site, answer: str) -> bool:
        """Return True if a browser answers the challenge with a passkey of this user."""
        with self._engine.begin() as connection:
            challenge = self._take(connection, who, key)
        if challenge is None:
            return False
        try:
            given = _read(answer)
            (row,) = [each for each in self.listed(who) if each.id == given["id"]]
            used = webauthn.verify_authentication_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=site.host,
                expected_origin=site.origin,
                credential_public_key=base64url_to_bytes(row.public_key),
                credential_current_sign_count=row.sign_count,
            )
        except _INVALID:
            return False
        values = {"sign_count": used.new_sign_count, "used_at": self._clock.now()}
        same = (passkey.c.id == row.id) & (passkey.c.sign_count == row.sign_count)
        with self._engine.begin() as connection:
            return bool(connection.execute(update(passkey).where(same).values(values)).rowcount)

    def _descriptors(self, who: User) -> list[PublicKeyCredentialDescriptor]:
        return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.id)) for each in self.listed(who)]

    def _remember(self, who: User, key: str, challenge: bytes) -> None:
        now = self._clock.now()
        row = {"key": key, "user_id": who.id, "challenge": bytes_to_base64url(challenge), "created_at": now}
        old = passkey_challenge.c.created_at <= now - _CHALLENGE_MILLISECONDS
        with self._engine.begin() as connection:
            connection.execute(delete(passkey_challenge).where(old | (passkey_challenge.c.key == key)))
            connection.execute(insert(passkey_challenge).values(row))

    def _take(self, connection: Connection, who: User, key: str) -> bytes | None:
        """Return the challenge that was made for this key, and forget it."""
        mine = (passkey_challenge.c.key == key) & (passkey_challenge.c.user_id == who.id)
        alive = passkey_challenge.c.created_at > self._clock.now() - _CHALLENGE_MILLISECONDS
        row = connection.execute(select(passkey_challenge.c.challenge).where(mine, alive)).first()
        taken = connection.execute(delete(passkey_challenge).where(mine)).rowcount
        return base64url_to_bytes(row.challenge) if row is not None and taken else None


def _read(answer: str) -> dict[str, Any]:
    """Return the answer of a browser. Raises ValueError if it is not a JSON object."""
    given = json.loads(answer)
    if not isinstance(given, dict):
        raise ValueError("the answer of the browser is not an object")
    return given
