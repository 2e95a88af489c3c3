"""The ASGI application of the HTTP API: authenticates a request, limits its rate, reads, and answers.

Invariants:
- Nothing is read for a request without a valid token: it is answered with 401, whatever its path. Only the OpenAPI
  document, which tells nothing about a fleet, needs none.
- A token is accepted in the header Authorization only, never in an address, which ends up in logs.
- Every query runs in one of a few threads of the API's own, with a time limit: programs do not slow down the pages.
- An organisation never has all threads: however much its programs ask for, those of others are answered.
- Only GET and HEAD exist: nothing is changed over HTTP.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic_core import to_json
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.api.answer import Asked, refuse, respond
from dashboard.api.openapi import make_document
from dashboard.api.operation import ApiRequest, Operation
from dashboard.api.parameters import parse
from dashboard.api.problem import ProblemError, not_found
from dashboard.api.request_limits import RequestLimits
from dashboard.api.tokens import ApiClient, ApiTokens
from dashboard.auth.middleware import API
from dashboard.auth.user_administration import UserAdministration
from runtime.clock import Clock
from schemas.database.queries.settings import read_org_created_at
from schemas.database.time_limit import is_exceeded

THREADS: Final = 4
"""Requests that are answered at the same time; others wait."""

ORG_THREADS: Final = 3
"""Requests of one organisation that are answered at the same time, and those without a token."""

_ADMISSION_THREADS: Final = 2
"""Tokens that are looked up at the same time, which takes no long query."""


_RETRY_SECONDS: Final = "5"
_BEARER: Final = "bearer "
_JSON: Final = "application/json"
_METHODS: Final = ("GET", "HEAD")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiServices:
    """The services of the API. `engine`: of the fleet's database, read-only, with a time limit."""

    engine: Engine
    tokens: ApiTokens
    users: UserAdministration
    limits: RequestLimits
    clock: Clock


def routes(gate: "Gate", operations: tuple[Operation, ...]) -> list[BaseRoute]:
    """Return the routes to mount in front of Streamlit."""
    found = [Route(f"{API}{each.path}", OperationEndpoint(gate, each)) for each in operations]
    document = Route(f"{API}/openapi.json", DocumentEndpoint(gate, operations))
    return [document, *found, UnknownAddress(Endpoint(gate, _unknown_path))]


class Gate:
    """Authentication and rate limits of all requests, and the threads in which they are answered."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._threads = CapacityLimiter(THREADS)
        self._admission = CapacityLimiter(_ADMISSION_THREADS)
        self._of_org: dict[str, CapacityLimiter] = {}

    async def admitted(self, request: Request) -> ApiRequest:
        """Return the request of a client that may make one now. Raises ProblemError."""
        require_method(request)
        admit = partial(self.admit, request.headers.get("authorization", ""), dict(request.path_params))
        return await to_thread.run_sync(partial(_guarded, admit), limiter=self._admission)

    async def call(self, org: str, read: Callable[[], T]) -> T:
        """Return what `read` returns, which runs in a thread of an organisation (empty: of requests without a token).

        Raises ProblemError, also for an error of a database.
        """
        own = self._of_org.setdefault(org, CapacityLimiter(ORG_THREADS))  # only of organisations with a valid token
        async with own:
            return await to_thread.run_sync(partial(_guarded, read), limiter=self._threads)

    def now(self) -> int:
        """Return the time in milliseconds."""
        return self._services.clock.now()

    def admit(self, authorization: str, names: Mapping[str, str]) -> ApiRequest:
        """Return the request of a client that may make one now. Raises ProblemError."""
        client = self.authenticate(authorization)
        wait = self._services.limits.admit(client.id)
        if wait:
            seconds = math.ceil(wait)
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"this token has used up its requests: try again in {seconds} s",
                headers={"retry-after": str(seconds)},
            )
        now = self._services.clock.now()
        return ApiRequest(self._services.engine, self._services.users, client.org, client.id, client.role, now, names)

    def authenticate(self, authorization: str) -> ApiClient:
        """Return the client with the token of this header. Raises ProblemError."""
        token = authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else ""
        client = self._services.tokens.find(token)
        if client is not None:
            created_at = read_org_created_at(self._services.engine, client.org)
            if created_at is not None and created_at <= client.created_at:
                return client
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "send a valid token in the header Authorization: Bearer TOKEN; an administrator creates one with "
            "dashfleet api-token create",
            headers={"www-authenticate": 'Bearer realm="DashFleet"'},
        )


def _guarded(read: Callable[[], T]) -> T:
    try:
        return read()
    except SQLAlchemyError as error:
        detail = "the database cannot be read now: try again later"
        if is_exceeded(error):
            detail = "the query exceeded its time limit: ask for less, such as a shorter range or fewer metrics"
        retry = {"retry-after": _RETRY_SECONDS}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=retry) from None


class Endpoint:
    """ASGI application of a path. `answer` returns the response to an admitted request."""

    def __init__(self, gate: Gate, answer: Callable[[ApiRequest, Request], Response]) -> None:
        self._gate = gate
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            admitted = await self._gate.admitted(request)
            response = await self._gate.call(admitted.org, partial(self._answer, admitted, request))
        except ProblemError as error:
            response = refuse(error)
        await respond_to(request, response)(scope, receive, send)


class OperationEndpoint(Endpoint):
    """ASGI application of an operation."""

    def __init__(self, gate: Gate, operation: Operation) -> None:
        super().__init__(gate, self._read)
        self._operation = operation

    def _read(self, admitted: ApiRequest, request: Request) -> Response:
        parameters = parse(self._operation.parameters, request.query_params)
        answer = self._operation.read(admitted, parameters)
        return respond(to_json(answer, by_alias=True), _JSON, Asked.of(request.headers))


class UnknownAddress(BaseRoute):
    """The route, after all others, of every other address below the API, whatever characters it has."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by the start of the path."""
        below = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{API}/")
        return (Match.FULL, {"path_params": {}}) if below else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches."""
        await self._endpoint(scope, receive, send)


class DocumentEndpoint:
    """ASGI application of the OpenAPI document, which is the same for everybody and needs no token."""

    def __init__(self, gate: Gate, operations: tuple[Operation, ...]) -> None:
        self._gate = gate
        self._body = json.dumps(make_document(operations)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            require_method(request)
            response = await self._gate.call("", partial(respond, self._body, _JSON, Asked.of(request.headers)))
        except ProblemError as error:
            response = refuse(error)
        await respond_to(request, response)(scope, receive, send)


def require_method(request: Request) -> None:
    """Raise ProblemError unless the method is GET or HEAD."""
    if request.method not in _METHODS:
        allowed = ", ".join(_METHODS)
        detail = f"this address allows {allowed} only: the HTTP API changes nothing"
        raise ProblemError(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": allowed})


def respond_to(request: Request, response: Response) -> ASGIApp:
    """Return the response, without its body if the request is HEAD."""
    if request.method == "HEAD":
        response.body = b""
    return response


def _unknown_path(_admitted: ApiRequest, _request: Request) -> Response:
    raise not_found("address")
