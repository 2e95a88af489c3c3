"""Single sign-on with an OpenID Connect provider, if the settings name one.

Invariants:
- An ID token is accepted only if the provider signed it, for this client, in response to an attempt of this browser:
  authorisation code with PKCE, state and nonce. Authlib does and checks all of it.
- An e-mail address counts only if the provider states that it verified it (`email_verified`).
- The attempt is kept in a signed cookie, for ten minutes and this path only. A response without it is rejected.
- A provider that is unavailable or sends invalid responses costs a sign-in and nothing else. The page tells the two
  apart, the log has the error; neither contains a token or a secret.
"""

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.auth import sso_accounts
from dashboard.auth.middleware import BASE_PATH, SINGLE_SIGN_ON, SINGLE_SIGN_ON_BACK
from dashboard.auth.passwords import AccountError
from dashboard.auth.sign_in import SignIn, safe_next
from dashboard.i18n.language import _, marked
from runtime.errors import SettingsError
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.secret_files import read_secret

_ATTEMPT_SECONDS: Final = 600
_TIMEOUT_SECONDS: Final = 10.0
_WANTED: Final = "next"
_UNSIGNED: Final = "none"
_INVALID: Final = (AuthlibBaseError, JoseError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)
"""The errors that an invalid response of the provider causes."""

_UNAVAILABLE: Final = marked("{host} does not answer. Sign in with a password, or try again later.")
_NOT_COMPLETED: Final = marked("The sign-in at {host} was not completed. Try again.")
_NO_GRANT: Final = marked(
    "You are signed in at {host}, but you have no access to this dashboard: ask its administrator."
)
_NAME_TAKEN: Final = marked("Another user has your name already: ask the administrator of this dashboard.")

_log = logging.getLogger(__name__)


class SingleSignOn:
    """The routes to the provider and back. `sign_in` shows errors and starts sessions."""

    def __init__(self, settings: DashboardSettings, engine: Engine, sign_in: SignIn) -> None:
        if not settings.oidc_client_id or not settings.oidc_grants:
            raise SettingsError(
                "oidc_issuer needs oidc_client_id and oidc_grants as well: without them no user gets access"
            )
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client_id, self._claim = settings.oidc_client_id, settings.oidc_claim
        self._grants = settings.oidc_grants
        self._engine, self._sign_in = engine, sign_in
        self.host = settings.oidc_host
        self._cookie = f"dashfleet-{settings.port}-attempt"
        secret = read_secret(settings.oidc_secret_file) if settings.oidc_secret_file else None
        self._provider = OAuth().register(
            "provider",
            client_id=self._client_id,
            client_secret=secret,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": settings.oidc_scope,
                "code_challenge_method": "S256",
                "timeout": _TIMEOUT_SECONDS,
                "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
            },
        )

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes to mount beside the sign-in."""
        attempt = [Middleware(_Attempt, cookie=self._cookie, key=secrets.token_urlsafe(32))]
        return [
            Route(SINGLE_SIGN_ON, self._begin, methods=["GET"], middleware=attempt),
            Route(SINGLE_SIGN_ON_BACK, self._end, methods=["GET"], middleware=attempt),
        ]

    async def _begin(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get(_WANTED, ""))
        request.session.clear()
        request.session[_WANTED] = wanted
        path = request.scope.get(BASE_PATH, "") + SINGLE_SIGN_ON_BACK
        back = str(request.url.replace(path=path, query="", fragment=""))
        try:
            self._check_metadata(await self._provider.load_server_metadata())
            response: Response = await self._provider.authorize_redirect(request, back)
        except httpx2.HTTPError as error:
            return self._failed(request, wanted, _(_UNAVAILABLE, host=self.host), error, 502)
        except _INVALID as error:
            return self._failed(request, wanted, _(_NOT_COMPLETED, host=self.host), error, 502)
        return response

    async def _end(self, request: Request) -> Response:
        wanted = safe_next(str(request.session.get(_WANTED, "")))
        try:
            claims = await self._claims(request)
        except httpx2.HTTPError as error:
            return self._failed(request, wanted, _(_UNAVAILABLE, host=self.host), error, 502)
        except _INVALID as error:
            return self._failed(request, wanted, _(_NOT_COMPLETED, host=self.host), error, 401)
        finally:
            request.session.clear()
        subject = json.dumps([self._issuer, claims["sub"]])
        try:
            return await self._provide(request, claims, subject, wanted)
        except SQLAlchemyError as error:
            return self._sign_in.not_stored(wanted, error)

    async def _provide(self, request: Request, claims: Mapping[str, Any], subject: str, wanted: str) -> Response:
        """Start the session of a user with these claims, or answer why they have no access."""
        claims = self._without_unverified_address(claims)
        grant = sso_accounts.granted(_values(claims, self._claim), self._grants)
        if grant is None:
            await run_in_threadpool(sso_accounts.end_sessions, self._engine, subject)
            return self._sign_in.rejected(request, wanted, _(_NO_GRANT, host=self.host), 403)
        name = sso_accounts.name_of(claims, self.host)
        try:
            who = await run_in_threadpool(sso_accounts.provide, self._engine, subject, name, grant)
        except AccountError as error:
            return self._failed(request, wanted, _(_NAME_TAKEN), error, 403)
        return await self._sign_in.start_session(request, who, wanted)

    async def _claims(self, request: Request) -> Mapping[str, Any]:
        """Return the claims of the ID token, and of the userinfo endpoint if the configured claim is missing."""
        expected = {
            "iss": {"essential": True, "values": [self._provider.server_metadata.get("issuer", self._issuer)]},
            "aud": {"essential": True, "values": [self._client_id]},
        }
        self._check_metadata(await self._provider.load_server_metadata())
        token = await self._provider.authorize_access_token(request, claims_options=expected)
        claims: dict[str, Any] = dict(token["userinfo"])  # from the ID token, which Authlib has checked
        if not _values(claims, self._claim) and self._provider.server_metadata.get("userinfo_endpoint"):
            more = await self._provider.userinfo(token=token)
            if more["sub"] != claims["sub"]:
                raise ValueError("the userinfo is about another user")
            claims = {**more, **claims}
        return claims

    def _without_unverified_address(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave out an e-mail address that the provider has not verified: it may be another person's."""
        if not claims.get("email") or claims.get("email_verified") is True:
            return claims
        if self._claim == "email":
            _log.warning("%s has not verified the e-mail address of %r: it grants nothing", self.host, claims["sub"])
        return {name: value for name, value in claims.items() if name != "email"}

    def _check_metadata(self, metadata: dict[str, Any]) -> None:
        """Raise ValueError unless the metadata is of the configured issuer and its endpoints are as encrypted.

        Removes unsigned ID tokens from the accepted algorithms.
        """
        if str(metadata["issuer"]).rstrip("/") != self._issuer:
            raise ValueError(f"the issuer calls itself {metadata['issuer']!r}")
        scheme = urlsplit(self._issuer).scheme
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if urlsplit(str(metadata[name])).scheme not in (scheme, "https"):
                raise ValueError(f"its {name} is not encrypted")
        signed = metadata.get("id_token_signing_alg_values_supported") or []
        metadata["id_token_signing_alg_values_supported"] = [each for each in signed if each != _UNSIGNED]

    def _failed(self, request: Request, wanted: str, message: str, error: Exception, status: int) -> Response:
        _log.warning("signing in at %s failed: %r", self.host, error)
        return self._sign_in.rejected(request, wanted, message, status)


class _Attempt:
    """Store `request.session` in a cookie, a secure one if the request came over HTTPS."""

    def __init__(self, app: ASGIApp, *, cookie: str, key: str) -> None:
        self._by_scheme = {
            scheme: SessionMiddleware(
                app,
                key,
                session_cookie=cookie,
                max_age=_ATTEMPT_SECONDS,
                path=SINGLE_SIGN_ON,
                same_site="lax",
                https_only=scheme == "https",
            )
            for scheme in ("http", "https")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._by_scheme[scope["scheme"]](scope, receive, send)


def _values(claims: Mapping[str, Any], claim: str) -> list[str]:
    """Return the strings in a claim. A name with dots is a path: `realm_access.roles`."""
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for step in claim.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
