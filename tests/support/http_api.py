"""The HTTP API over a seeded fleet, called in this process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clocks import Clock
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.api import application, event_stream, machine_metrics, resources
from dashboard.api.application import ApiServices
from dashboard.api.operation import discover
from dashboard.api.request_limits import RequestLimits
from dashboard.api.tokens import ApiTokens
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.user_administration import UserAdministration
from dashboard.auth.users import UserRole
from runtime.clock import SystemClock

PER_MINUTE = 1_000_000
POLL_SECONDS = 0.02


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"authorization": f"Bearer {token}"}


@dataclass
class HttpApi:
    """The API without the pages, and a client that calls it."""

    app: Starlette
    client: TestClient
    tokens: ApiTokens

    @classmethod
    def over(
        cls, engine: Engine, accounts: Engine, clock: Clock | SystemClock, *, per_minute: int = PER_MINUTE
    ) -> "HttpApi":
        """Return the API over these databases of a fleet and of users."""
        tokens = ApiTokens(accounts, clock)
        sessions = SignInSessions(accounts, clock, idle_seconds=600, max_seconds=3600)
        services = ApiServices(
            engine=engine,
            tokens=tokens,
            users=UserAdministration(accounts, sessions),
            limits=RequestLimits(clock, per_minute),
            clock=clock,
        )
        gate = application.Gate(services)
        app = Starlette(
            routes=[
                *event_stream.routes(gate, poll_seconds=POLL_SECONDS),
                *application.routes(gate, discover(resources)),
                *machine_metrics.routes(gate),
            ]
        )
        return cls(app, TestClient(app), tokens)

    def token(self, org: str = "home", role: UserRole = UserRole.VIEWER, name: str = "") -> str:
        """Return a new token."""
        name = name or f"t{len(self.tokens.listed())}"
        return self.tokens.create(org, name, role, seconds=86_400, by="root")

    def get(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        org: str = "home",
        role: UserRole = UserRole.VIEWER,
        **more: Any,  # noqa: ANN401 - further parameters of the query
    ) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON of an answer."""
        parameters = {**(query or {}), **more}
        answer = self.client.get(f"/api/v1{path}", params=parameters, headers=bearer(self.token(org, role)))
        assert answer.status_code == 200, answer.text
        return answer.json()
