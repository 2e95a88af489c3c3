"""The dashboard process: Streamlit behind the authentication middleware, with sign-in and downloads beside it.

Invariants:
- `run` refuses to start on a port that is taken, before anything else starts, and leaves nothing behind.
- Beyond loopback it serves plain HTTP only on request, and it answers only to the host names of its settings.
- The fleet's database may be down at the start and at any time after; the pages say so. The auth database may not.
- `on_ready` is called after a request has been answered over the port.
"""

import asyncio
import errno
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import streamlit as st
from sqlalchemy import Engine
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute

from dashboard import pages
from dashboard.account import rendering
from dashboard.account.account_page import AccountPage
from dashboard.account.second_step import SecondStep
from dashboard.api import application, event_stream, machine_metrics, resources
from dashboard.api.operation import discover as discover_operations
from dashboard.api.request_limits import RequestLimits
from dashboard.api.tokens import ApiTokens
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.middleware import IDENTITY_HEADERS, READY, AuthMiddleware
from dashboard.auth.sign_in import SignIn
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.user_administration import UserAdministration
from dashboard.destinations.notification_centre import NotificationCentre
from dashboard.enrolment.bundle_files import BundleFiles
from dashboard.export.downloads import Downloads
from dashboard.fleet.tile_details import TileDetails
from dashboard.i18n.language import _
from dashboard.live.live_route import LiveRoute
from dashboard.page.install_command import BrokerAddress
from dashboard.page.page import discover
from dashboard.page.services import REGISTERED, SECRETS, Services
from dashboard.publishing.publisher import Publisher
from dashboard.server import moved_pages, proxy_headers, streamlit_fixes, wake_ups
from dashboard.server.base_path import BasePath
from dashboard.server.connection_notice import ConnectionNotice
from dashboard.server.proxy_headers import TrustedProxies
from dashboard.server.unknown_pages import UnknownPages
from dashboard.server.warm_up import WarmUp
from dashboard.widgets import component, theme
from runtime.clock import Clock, SystemClock
from runtime.errors import UserError
from runtime.process import release_memory
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.loopback import is_loopback
from schemas.database.engine import open_engine
from schemas.database.time_limit import limit_statements
from schemas.people.secret_box import SecretBox

_SCRIPT: Final = Path(__file__).parent / "main.py"
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1", "[::1]")
_PORT_TAKEN: Final = 1  # Streamlit's exit code if the port was taken after `_require_free`

_log = logging.getLogger(__name__)


class ServeError(UserError):
    """The dashboard cannot listen; the message is one sentence for the operator."""


def run(settings: DashboardSettings, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises ServeError or DatabaseError if it cannot start."""
    _refuse_plain_http(settings)
    _require_free(settings.bind, settings.port)
    auth_database = open_auth_database(settings.auth_database.get_secret_value())
    try:
        build(settings, auth_database, on_ready).run(config=options(settings))
    except KeyboardInterrupt:
        _log.info("stopped")  # uvicorn raises the signal again once everything is closed
    except SystemExit as stopped:
        if stopped.code == _PORT_TAKEN:
            raise ServeError(_taken(settings.bind, settings.port)) from None
        if stopped.code:
            raise ServeError("the dashboard could not start: its log has the error") from None
    finally:
        auth_database.dispose()


def build(settings: DashboardSettings, auth_database: Engine, on_ready: Callable[[], None]) -> st.App:
    """Build the ASGI application."""
    streamlit_fixes.apply()
    wake_ups.apply()
    proxy_headers.disable_server_default()
    clock = SystemClock()
    sessions, sign_in = _authentication(settings, auth_database, clock)
    beside = open_engine(settings.database.get_secret_value(), read_only=True)
    downloads, tiles = Downloads(beside, clock), TileDetails(beside, clock)
    shared = _services(settings, auth_database, sessions, clock)
    process = secrets.token_hex(8)
    api = application.ApiServices(
        engine=shared.engine,
        tokens=shared.api_tokens,
        users=shared.users,
        limits=RequestLimits(clock, settings.api_requests_per_minute),
        clock=clock,
    )
    return st.App(
        _SCRIPT,
        secrets={SECRETS: {"process": process}},
        routes=[
            *_outside(settings, auth_database, sign_in, clock),
            *component.routes(),
            *downloads.routes(),
            *tiles.routes(),
            *LiveRoute(shared.engine, shared.publisher, clock).routes(),
            *_for_programs(application.Gate(api)),
            *BundleFiles(settings.bundle or settings.data / "bundle", settings.ca_file, clock).routes(),
            *moved_pages.routes(),
            UnknownPages(frozenset(page.path for page, _show in discover(pages))),
        ],
        middleware=_middleware(settings, sessions, sign_in),
        lifespan=_lifespan(settings, shared, process, on_ready),
        on_script_error=_script_failed,
    )


def _middleware(settings: DashboardSettings, sessions: SignInSessions, sign_in: SignIn) -> list[Middleware]:
    return [
        Middleware(WarmUp),
        Middleware(TrustedProxies, proxies=settings.proxies),
        Middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK_NAMES, *settings.hosts], www_redirect=False),
        *([Middleware(BasePath, base=settings.base_path)] if settings.base_path else []),
        Middleware(AuthMiddleware, sessions=sessions, cookie=sign_in.token),
        Middleware(ConnectionNotice),
    ]


def _for_programs(gate: application.Gate) -> list[BaseRoute]:
    operations = discover_operations(resources)
    return [*event_stream.routes(gate), *application.routes(gate, operations), *machine_metrics.routes(gate)]


def _services(settings: DashboardSettings, auth_database: Engine, sessions: SignInSessions, clock: Clock) -> Services:
    database = settings.database.get_secret_value()
    return Services(
        engine=limit_statements(open_engine(database, read_only=True), settings.query_seconds),
        clock=clock,
        publisher=Publisher.of(settings, clock),
        users=UserAdministration(auth_database, sessions),
        api_tokens=ApiTokens(auth_database, clock),
        notifications=_notifications(settings, auth_database, clock),
        broker=BrokerAddress.of(settings),
        refresh_seconds=settings.refresh_seconds,
        chart_samples_max=settings.chart_samples_max,
    )


def _notifications(settings: DashboardSettings, engine: Engine, clock: Clock) -> NotificationCentre | None:
    if settings.key_file is None:
        return None
    return NotificationCentre(engine, SecretBox.load(settings.key_file), clock)


def _authentication(settings: DashboardSettings, engine: Engine, clock: Clock) -> tuple[SignInSessions, SignIn]:
    sessions = SignInSessions(
        engine, clock, idle_seconds=settings.session_idle_seconds, max_seconds=settings.session_max_seconds
    )
    sign_in = SignIn(
        engine,
        sessions,
        clock,
        port=settings.port,
        provider=settings.oidc_host,
        second_factor_roles=settings.second_factor_roles,
    )
    sign_in.factors.end_sessions_without()
    return sessions, sign_in


def _outside(settings: DashboardSettings, engine: Engine, sign_in: SignIn, clock: Clock) -> list[BaseRoute]:
    """Return the routes of the pages outside Streamlit. `engine`: the auth database."""
    account = AccountPage(engine, clock, sign_in, password_min_length=settings.password_min_length)
    single_sign_on: list[BaseRoute] = []
    if settings.oidc_issuer:
        from dashboard.auth.single_sign_on import SingleSignOn  # here: its libraries take 10 MiB

        single_sign_on = list(SingleSignOn(settings, engine, sign_in).routes())
    second_step = SecondStep(engine, clock, sign_in).routes()
    return [*sign_in.routes(), *second_step, *account.routes(), rendering.script_route(), *single_sign_on]


def options(settings: DashboardSettings) -> dict[str, Any]:
    """Return Streamlit's configuration for these settings."""
    return {
        "server.address": settings.bind,
        "server.port": settings.port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.maxUploadSize": 1,
        "server.trustedUserHeaders": IDENTITY_HEADERS,
        "browser.gatherUsageStats": False,
        "global.disableWidgetStateDuplicationWarning": True,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "runner.magicEnabled": False,
        "runner.postScriptGC": False,
        "logger.hideWelcomeMessage": True,
        "logger.level": settings.log_level,
        **theme.OPTIONS,
    }


def _lifespan(settings: DashboardSettings, shared: Services, process: str, on_ready: Callable[[], None]) -> Any:  # noqa: ANN401 - Streamlit's own type
    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        discover(pages)
        release_memory()
        announcing = asyncio.create_task(_announce(settings, on_ready))
        REGISTERED[process] = shared
        shared.publisher.start()
        try:
            yield
        finally:
            announcing.cancel()
            await asyncio.to_thread(shared.publisher.stop)
            del REGISTERED[process]

    return lifespan


async def _announce(settings: DashboardSettings, on_ready: Callable[[], None]) -> None:
    """Call `on_ready` once the port answers. The socket is listening, so the first request waits for its response."""
    reader, writer = await asyncio.open_connection(_reachable(settings.bind), settings.port)
    writer.write(f"GET {READY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()
    if b" 200 " in status:
        on_ready()
    else:
        _log.error("the dashboard does not answer: %s", status.decode("ascii", "replace").strip())


def _refuse_plain_http(settings: DashboardSettings) -> None:
    if not is_loopback(settings.bind) and not settings.insecure:
        raise ServeError(
            f"the dashboard does not listen on {settings.bind}: it has no TLS, so passwords would cross the network in "
            "the clear; bind it to 127.0.0.1, or set DASHFLEET_DASHBOARD_INSECURE=true behind a proxy that adds TLS"
        )


def _require_free(bind: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise ServeError(_taken(bind, port)) from None
            raise ServeError(f"the dashboard cannot listen on {bind}: {error.strerror}") from None


def _taken(bind: str, port: int) -> str:
    return (
        f"port {port} on {bind} is taken or not allowed: stop the program that uses it, or configure another port "
        "(setting port, DASHFLEET_DASHBOARD_PORT)"
    )


def _reachable(bind: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared, not bound


def _script_failed(error: Exception) -> bool:
    """Show a reference instead of a traceback, which goes to the log."""
    reference = f"{secrets.randbelow(1_000_000):06d}"
    _log.error("a page failed (reference %s)", reference, exc_info=error)
    st.error(_("This page failed. The dashboard's log has the error under reference {n}.", n=reference))
    return True
