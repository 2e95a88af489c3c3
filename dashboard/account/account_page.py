"""The account page: password, authenticator app, passkeys and recovery codes of the visitor; and the required set-up.

Invariants:
- The visitor is the user of the session, or of the pending sign-in for the set-up; no field of a form names a user.
- Every change needs the password, unless it finishes one that the password began or was typed for the pending sign-in.
- A user whose password a single sign-on provider keeps can change nothing here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.account import rendering
from dashboard.account.account_changes import AccountChanges, AccountOutcome, AccountVisitor
from dashboard.account.account_texts import texts
from dashboard.auth.authenticator_app import provisioning_image
from dashboard.auth.forms import Denial, language_of, receive_form, throttled
from dashboard.auth.middleware import ACCOUNT, SETUP, SIGN_IN
from dashboard.auth.passkeys import TITLE_MAX
from dashboard.auth.passwords import PASSWORD_MAX_LENGTH, AccountError, check_password
from dashboard.auth.sign_in import SignIn, safe_next
from dashboard.auth.users import find_user
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _, speaking
from runtime.clock import Clock

Change = Callable[[AccountVisitor, Mapping[str, str]], AccountOutcome]

_TEMPLATE: Final = "account.html"
_OPTIONS: Final = "passkey-options"
_PASSWORD: Final = "password"  # noqa: S105 - the name of a change


class AccountPage:
    """The routes of the account page and of the set-up. `password_min_length`: the policy for a password of a user."""

    def __init__(self, engine: Engine, clock: Clock, sign_in: SignIn, *, password_min_length: int) -> None:
        self._engine = engine
        self._sign_in = sign_in
        self._min_length = password_min_length
        self._changes = changes = AccountChanges(engine, clock, sign_in.factors, sign_in.attempts)
        self._finishing: Mapping[str, Change] = {"confirm-app": changes.confirm_app, "add-passkey": changes.add_passkey}
        self._beginning: Mapping[str, Change] = {"begin-app": changes.begin_app}
        self._protected: Mapping[str, Change] = {
            **self._beginning,
            "remove-app": changes.remove_app,
            "remove-passkey": changes.remove_passkey,
            "codes": changes.renew_codes,
        }

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes to mount in front of Streamlit."""
        return [
            Route(path, handler, methods=[method])
            for path in (ACCOUNT, SETUP)
            for method, handler in (("GET", self._show), ("POST", self._change))
        ]

    async def _show(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        visitor = await run_in_threadpool(self._visitor, request)
        with speaking(language_of(request)):
            return RedirectResponse(SIGN_IN, 303) if visitor is None else self._page(request, visitor, wanted)

    async def _change(self, request: Request) -> Response:
        with speaking(language_of(request)):
            form = await receive_form(request)
            if isinstance(form, Response):
                return form
            wanted = safe_next(form.get("next", ""))
            try:
                visitor = await run_in_threadpool(self._visitor, request)
                if visitor is None:
                    return RedirectResponse(SIGN_IN, 303)
                return await self._apply(request, visitor, form, wanted)
            except SQLAlchemyError as error:
                return self._sign_in.not_stored(wanted, error)

    def _visitor(self, request: Request) -> AccountVisitor | None:
        """Return who may change what here, or None: not signed in, or nothing to set up."""
        setup, site = request.url.path == SETUP, rendering.site_of(request)
        if setup:
            token = self._sign_in.pending_token(request)
            who, key = self._sign_in.factors.pending(token), self._sign_in.factors.pending_key(token)
        else:
            with self._engine.connect() as connection:
                who, key = find_user(connection, request.headers["x-df-user"]), request.headers["x-df-session"]
        if who is None:
            return None
        held = self._sign_in.factors.held(who)
        return None if setup and held else AccountVisitor(who, held, key, setup, site)

    async def _apply(self, request: Request, visitor: AccountVisitor, form: Mapping[str, str], wanted: str) -> Response:
        wish = form.get("do", "")
        if visitor.held.provided:
            return PlainTextResponse("the single sign-on provider manages this account\n", 403)
        if not visitor.setup and wish not in self._finishing:
            who = await self._sign_in.authenticate(request, visitor.user.name, form.get("password", ""))
            if isinstance(who, Denial):
                return self._denied(request, visitor, wish, who, wanted)
        if wish == _OPTIONS:
            options = await run_in_threadpool(
                self._changes.passkeys.registration, visitor.user, visitor.key, visitor.site
            )
            return JSONResponse({"options": json.loads(options)}, headers={"cache-control": "no-store"})
        try:
            outcome = await self._outcome(visitor, wish, form)
        except AccountError as error:
            sentence = translated_error(error)
            outcome = AccountOutcome(error=f"{sentence[:1].upper()}{sentence[1:]}.", status=400)
        if outcome is None:
            return PlainTextResponse("unknown change\n", 400)
        return await self._answer(request, visitor, outcome, wanted)

    async def _outcome(self, visitor: AccountVisitor, wish: str, form: Mapping[str, str]) -> AccountOutcome | None:
        """Make a change. Raises AccountError."""
        allowed = {**self._finishing, **(self._beginning if visitor.setup else self._protected)}
        if wish == _PASSWORD and not visitor.setup:
            new = form.get("new", "")
            check_password(new, visitor.user.name, self._min_length)
            await self._sign_in.change_password(visitor.user.name, new)
            return AccountOutcome(done=_("Your password is changed."), signs_in=True)
        if wish not in allowed:
            return None
        return await run_in_threadpool(allowed[wish], visitor, form)

    async def _answer(
        self, request: Request, visitor: AccountVisitor, outcome: AccountOutcome, wanted: str
    ) -> Response:
        if not outcome.signs_in:
            return self._page(request, visitor, wanted, outcome)
        held = await run_in_threadpool(self._sign_in.factors.held, visitor.user)
        now = AccountVisitor(visitor.user, held, visitor.key, visitor.setup, visitor.site)
        return await self._sign_in.complete_with(request, visitor.user, self._page(request, now, wanted, outcome))

    def _denied(self, request: Request, visitor: AccountVisitor, wish: str, denial: Denial, wanted: str) -> Response:
        message = _("The password is wrong.") if denial.status == 401 else denial.message
        if wish == _OPTIONS:
            return JSONResponse({"error": message}, denial.status, headers=dict(denial.headers))
        outcome = AccountOutcome(error=message, status=denial.status)
        return self._page(request, visitor, wanted, outcome, denial.headers)

    def _page(
        self,
        request: Request,
        visitor: AccountVisitor,
        wanted: str,
        outcome: AccountOutcome = AccountOutcome(),  # noqa: B008 - it is immutable
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        error, status, more = outcome.error, outcome.status, dict(headers or {})
        if outcome.wait:
            denial = throttled(outcome.wait)
            error, status, more = denial.message, denial.status, dict(denial.headers)
        who, values = visitor.user, self._factor_values(request, visitor)
        values |= {
            "action": SETUP if visitor.setup else ACCOUNT,
            "next": wanted,
            "user": who.name,
            "setup": visitor.setup,
            "provided": visitor.held.provided,
            "error": error,
            "done": outcome.done,
            "codes": outcome.codes,
            "secret": outcome.secret,
            "image": provisioning_image(outcome.secret, who.name) if outcome.secret else "",
            "min_length": self._min_length,
            "max_length": PASSWORD_MAX_LENGTH,
            "t": texts(self._min_length, visitor.held.recovery_codes),
        }
        return rendering.page(_TEMPLATE, values, status, more)

    def _factor_values(self, request: Request, visitor: AccountVisitor) -> dict[str, Any]:
        return {
            "app": visitor.held.app,
            "passkeys": [(each.id, each.title) for each in self._changes.passkeys.listed(visitor.user)],
            "takes_passkeys": rendering.takes_passkeys(request),
            "title_max": TITLE_MAX,
            "has_factor": bool(visitor.held),
            "required": self._sign_in.factors.is_required(visitor.user.role),
        }
