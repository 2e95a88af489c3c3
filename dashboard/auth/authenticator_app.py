"""Codes of an authenticator app (TOTP, RFC 6238: SHA-1, 6 digits, 30 seconds).

Invariants:
- A code is accepted once: its time step must be later than that of the last accepted code of this user.
- The clock of the app may be one step ahead or behind.
- A secret counts as a second factor only after a code of it was entered.
"""

import hmac
from typing import Final

import pyotp
import segno
from sqlalchemy import Engine, delete, insert, select, update

from dashboard.auth.auth_database import authenticator
from dashboard.auth.users import User
from runtime.clock import Clock
from schemas.database.queries.fetch import fetch_first

STEP_MILLISECONDS: Final = 30_000
_DRIFT_STEPS: Final = 1
_ISSUER: Final = "DashFleet"


class AuthenticatorApps:
    """The authenticator apps in one auth database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def begin(self, who: User) -> str:
        """Return a new secret for a user's app, in place of one that was not confirmed, or "" if one is confirmed."""
        secret = pyotp.random_base32()
        mine = authenticator.c.user_id == who.id
        with self._engine.begin() as connection:
            connection.execute(delete(authenticator).where(mine, ~authenticator.c.confirmed))
            if connection.execute(select(authenticator.c.user_id).where(mine)).first() is not None:
                return ""
            row = {"user_id": who.id, "secret": secret, "confirmed": False, "last_step": 0}
            connection.execute(insert(authenticator).values(row))
        return secret

    def pending_secret(self, who: User) -> str:
        """Return the secret that a user has not confirmed yet, or ""."""
        unconfirmed = (authenticator.c.user_id == who.id) & ~authenticator.c.confirmed
        row = fetch_first(self._engine, select(authenticator.c.secret).where(unconfirmed))
        return "" if row is None else str(row.secret)

    def confirm(self, who: User, code: str) -> bool:
        """Accept a code of a secret that was not confirmed; return True if it is now a second factor."""
        return self._use(who, code, confirmed=False)

    def accept(self, who: User, code: str) -> bool:
        """Return True if a code is valid now and was not used; it is then used."""
        return self._use(who, code, confirmed=True)

    def was_used(self, who: User, code: str) -> bool:
        """Return True if a code would be valid now but for its use before, which its user may be told."""
        mine = (authenticator.c.user_id == who.id) & authenticator.c.confirmed
        row = fetch_first(self._engine, select(authenticator).where(mine))
        step = None if row is None else _matching_step(row.secret, code, self._clock.now())
        return row is not None and step is not None and step <= row.last_step

    def _use(self, who: User, code: str, *, confirmed: bool) -> bool:
        mine = (authenticator.c.user_id == who.id) & (authenticator.c.confirmed == confirmed)
        row = fetch_first(self._engine, select(authenticator).where(mine))
        step = None if row is None else _matching_step(row.secret, code, self._clock.now())
        if row is None or step is None:
            return False
        unused = (authenticator.c.secret == row.secret) & (authenticator.c.last_step < step)
        with self._engine.begin() as connection:
            used = connection.execute(update(authenticator).where(mine, unused).values(last_step=step, confirmed=True))
        return bool(used.rowcount)


def provisioning_image(secret: str, name: str) -> str:
    """Return the QR code that an authenticator app scans, as the address of an SVG image within the page."""
    address = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)
    return str(segno.make(address, error="m", micro=False).svg_data_uri(scale=5, border=4, dark="#000", light="#fff"))


def _matching_step(secret: str, code: str, now: int) -> int | None:
    """Return the latest time step within the drift whose code this is, or None."""
    given, present = "".join(code.split()).encode(), now // STEP_MILLISECONDS
    steps = range(present - _DRIFT_STEPS, present + _DRIFT_STEPS + 1)
    totp = pyotp.TOTP(secret)
    matching = [step for step in steps if hmac.compare_digest(totp.generate_otp(step).encode(), given)]
    return max(matching, default=None)
