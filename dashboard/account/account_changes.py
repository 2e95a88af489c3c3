"""Changes of the visitor's own account, one function for each; the page asks for the password first where it must.

Invariants:
- The set-up before the first sign-in adds a first second factor and does nothing else: an attacker who has only the
  password cannot change the second factor of an account.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, delete
from sqlalchemy.engine import Connection

from dashboard.auth import second_factor
from dashboard.auth.auth_database import authenticator, passkey, recovery_code
from dashboard.auth.authenticator_app import AuthenticatorApps
from dashboard.auth.login_attempts import LoginAttempts
from dashboard.auth.passkeys import Passkeys, Site
from dashboard.auth.passwords import AccountError
from dashboard.auth.second_factor import HeldFactors, SecondFactors, held_factors
from dashboard.auth.users import User, change_user
from dashboard.i18n.language import _, marked
from runtime.clock import Clock

APP, PASSKEY = "authenticator app", "passkey"
_LAST: Final = marked("Your role requires a second factor: add another one before you remove this one")


@dataclass(frozen=True, slots=True)
class AccountVisitor:
    """The visitor. `key`: their session or pending sign-in. `setup`: they must add a first second factor."""

    user: User
    held: HeldFactors
    key: str
    setup: bool
    site: Site


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    """The result of a change. `codes` are new recovery codes, `secret` that of an app to set up; both shown once.

    `signs_in`: the change ended all sessions, and this browser gets a new one.
    """

    done: str = ""
    error: str = ""
    status: int = 200
    codes: Sequence[str] = ()
    secret: str = ""
    signs_in: bool = False
    wait: int = 0


class AccountChanges:
    """The changes, by the name that a form has for them in its field `do`."""

    def __init__(self, engine: Engine, clock: Clock, factors: SecondFactors, attempts: LoginAttempts) -> None:
        self._engine = engine
        self._factors = factors
        self._attempts = attempts
        self.apps = AuthenticatorApps(engine, clock)
        self.passkeys = Passkeys(engine, clock)

    def begin_app(self, visitor: AccountVisitor, _form: Mapping[str, str]) -> AccountOutcome:
        """Make the secret of an authenticator app."""
        secret = self.apps.begin(visitor.user)
        return AccountOutcome(secret=secret) if secret else _failed(_("You have an authenticator app already."))

    def confirm_app(self, visitor: AccountVisitor, form: Mapping[str, str]) -> AccountOutcome:
        """Make the app a second factor, if its code is right."""
        secret = self.apps.pending_secret(visitor.user)
        wait = self._attempts.admit_code(visitor.user.name)
        if wait:
            return AccountOutcome(secret=secret, wait=wait)
        if not self.apps.confirm(visitor.user, form.get("code", "")[:64]):
            wrong = _("This code is not valid. Check that the clock of your telephone is right.")
            return AccountOutcome(error=wrong, status=400, secret=secret)
        self._attempts.code_succeeded(visitor.user.name)
        with self._engine.begin() as connection:
            codes = second_factor.added(connection, visitor.user, APP)
        return AccountOutcome(done=_("The authenticator app is set up."), codes=codes, signs_in=True)

    def add_passkey(self, visitor: AccountVisitor, form: Mapping[str, str]) -> AccountOutcome:
        """Store the passkey that the browser made."""
        title, answer = form.get("title", "") or _("Passkey"), form.get("credential", "")
        with self._engine.begin() as connection:
            if not self.passkeys.register(connection, visitor.user, visitor.key, visitor.site, answer, title):
                return _failed(_("The passkey was not accepted."))
            codes = second_factor.added(connection, visitor.user, PASSKEY)
        return AccountOutcome(done=_("The passkey is added."), codes=codes, signs_in=True)

    def remove_app(self, visitor: AccountVisitor, _form: Mapping[str, str]) -> AccountOutcome:
        """Remove the authenticator app. Raises AccountError if it is the last second factor and one is required."""
        with self._engine.begin() as connection:
            connection.execute(delete(authenticator).where(authenticator.c.user_id == visitor.user.id))
            self._removed(connection, visitor.user, APP)
        return AccountOutcome(done=_("The authenticator app is removed."), signs_in=True)

    def remove_passkey(self, visitor: AccountVisitor, form: Mapping[str, str]) -> AccountOutcome:
        """Remove a passkey. Raises AccountError if it is the last second factor and one is required."""
        with self._engine.begin() as connection:
            mine = (passkey.c.user_id == visitor.user.id) & (passkey.c.id == form.get("passkey", ""))
            if not connection.execute(delete(passkey).where(mine)).rowcount:
                return _failed(_("This passkey does not exist any more."))
            self._removed(connection, visitor.user, PASSKEY)
        return AccountOutcome(done=_("The passkey is removed."), signs_in=True)

    def renew_codes(self, visitor: AccountVisitor, _form: Mapping[str, str]) -> AccountOutcome:
        """Replace the recovery codes."""
        if not visitor.held:
            return _failed(_("You have no second factor."))
        with self._engine.begin() as connection:
            codes = second_factor.new_recovery_codes(connection, visitor.user)
            change_user(connection, visitor.user, visitor.user.name, second_factor.NEW_CODES)
        return AccountOutcome(done=_("You have new recovery codes."), codes=codes, signs_in=True)

    def _removed(self, connection: Connection, who: User, detail: str) -> None:
        if not held_factors(connection, who):
            if self._factors.is_required(who.role):
                raise AccountError(_(_LAST))
            connection.execute(delete(recovery_code).where(recovery_code.c.user_id == who.id))
        change_user(connection, who, who.name, second_factor.REMOVED, detail)


def _failed(error: str) -> AccountOutcome:
    return AccountOutcome(error=error, status=400)
