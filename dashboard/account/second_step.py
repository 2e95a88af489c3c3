"""The second step of the sign-in: a code of the authenticator app, a recovery code, or a passkey.

Invariants:
- It needs a pending sign-in, which the right password started a few minutes ago, and completes it once.
- Every attempt is counted as failed before it is checked; after some, the next ones must wait.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.account import rendering
from dashboard.auth.authenticator_app import AuthenticatorApps
from dashboard.auth.forms import Denial, language_of, receive_form, throttled
from dashboard.auth.middleware import SECOND_STEP, SECOND_STEP_OPTIONS, SIGN_IN
from dashboard.auth.passkeys import Passkeys
from dashboard.auth.sign_in import SignIn, safe_next
from dashboard.auth.users import User
from dashboard.i18n.language import _, speaking
from runtime.clock import Clock

_TEMPLATE: Final = "second-step.html"
_CREDENTIAL: Final = "credential"


class SecondStep:
    """The routes of the second step, after `sign_in` has verified the password."""

    def __init__(self, engine: Engine, clock: Clock, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._apps = AuthenticatorApps(engine, clock)
        self._passkeys = Passkeys(engine, clock)

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes to mount beside the sign-in."""
        return [
            Route(SECOND_STEP, self._form, methods=["GET"]),
            Route(SECOND_STEP, self._answer, methods=["POST"]),
            Route(SECOND_STEP_OPTIONS, self._options, methods=["POST"]),
        ]

    async def _form(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        who = await self._pending(request)
        with speaking(language_of(request)):
            return _expired(wanted) if who is None else await self._page(request, who, wanted)

    async def _answer(self, request: Request) -> Response:
        with speaking(language_of(request)):
            form = await receive_form(request)
            if isinstance(form, Response):
                return form
            wanted = safe_next(form.get("next", ""))
            who = await self._pending(request)
            if who is None:
                return _expired(wanted)
            try:
                return await self._check(request, who, form, wanted)
            except SQLAlchemyError as error:
                return self._sign_in.not_stored(wanted, error)

    async def _check(self, request: Request, who: User, form: Mapping[str, str], wanted: str) -> Response:
        attempts, factors = self._sign_in.attempts, self._sign_in.factors
        wait = await run_in_threadpool(attempts.admit_code, who.name)
        if wait:
            return await self._page(request, who, wanted, throttled(wait))
        if not await run_in_threadpool(self._accepts, request, who, form):
            wrong = await run_in_threadpool(self._refusal, who, form)
            return await self._page(request, who, wanted, Denial(wrong, 401))
        await run_in_threadpool(attempts.code_succeeded, who.name)
        if not await run_in_threadpool(factors.end, self._sign_in.pending_token(request)):
            return _expired(wanted)
        return await self._sign_in.complete(request, who, wanted)

    def _accepts(self, request: Request, who: User, form: Mapping[str, str]) -> bool:
        if form.get(_CREDENTIAL):
            return self._passkeys.accept(who, self._key(request), rendering.site_of(request), form[_CREDENTIAL])
        code = form.get("code", "")[:64]
        return self._apps.accept(who, code) or self._sign_in.factors.use_recovery_code(who, code)

    def _refusal(self, who: User, form: Mapping[str, str]) -> str:
        if form.get(_CREDENTIAL):
            return _("The passkey was not accepted.")
        if self._apps.was_used(who, form.get("code", "")[:64]):
            return _("This code was already used: wait for the next one.")
        return _("This code is not valid.")

    async def _options(self, request: Request) -> Response:
        form = await receive_form(request)
        if isinstance(form, Response):
            return form
        who = await self._pending(request)
        if who is None:
            return JSONResponse({"error": "sign in again"}, 401)
        site = rendering.site_of(request)
        options = await run_in_threadpool(self._passkeys.authentication, who, self._key(request), site)
        return JSONResponse({"options": json.loads(options)}, headers={"cache-control": "no-store"})

    def _key(self, request: Request) -> str:
        return self._sign_in.factors.pending_key(self._sign_in.pending_token(request))

    async def _pending(self, request: Request) -> User | None:
        return await run_in_threadpool(self._sign_in.factors.pending, self._sign_in.pending_token(request))

    async def _page(self, request: Request, who: User, wanted: str, denial: Denial | None = None) -> Response:
        held = await run_in_threadpool(self._sign_in.factors.held, who)
        app = _("Code of your authenticator app, or a recovery code")
        values = {
            "title": _("Confirm that it is you"),
            "action": SECOND_STEP,
            "options": SECOND_STEP_OPTIONS,
            "next": wanted,
            "error": denial.message if denial else "",
            "label": app if held.app else _("Recovery code"),
            "passkey": _("Use a passkey") if held.passkeys and rendering.takes_passkeys(request) else "",
            "restart": _("Sign in as another user"),
            "sign_in": SIGN_IN,
        }
        return rendering.page(_TEMPLATE, values, denial.status if denial else 200, denial.headers if denial else None)


def _expired(wanted: str) -> Response:
    """Redirect to the beginning: there is no pending sign-in, or it has ended."""
    return RedirectResponse(SIGN_IN if wanted == "/" else f"{SIGN_IN}?{urlencode({'next': wanted})}", 303)
