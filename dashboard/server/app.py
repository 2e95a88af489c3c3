"""The dashboard as one process: Streamlit behind the gate, with the sign-in beside it.

Invariants:
- `run` refuses a port that is taken before anything else starts, and leaves nothing behind.
- Beyond loopback it serves plain HTTP only if that was asked for, and it answers only to names it was told.
- The fleet's database may be away at the start and at any time after; the pages say so. The auth database may not.
- `on_ready` is called when a request has really been answered over the port.
"""

import asyncio
import errno
import gc
import importlib
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import streamlit as st
from sqlalchemy import Engine
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dashboard import pages
from dashboard.auth.accounts import open_accounts
from dashboard.auth.middleware import IDENTITY_HEADERS, READY, Gate
from dashboard.auth.people import PEOPLE, People
from dashboard.auth.sessions import Attempts, Now, Sessions
from dashboard.auth.sign_in import SignIn
from dashboard.auth.single_sign_on import SingleSignOn
from dashboard.export.downloads import Downloads
from dashboard.i18n import language
from dashboard.i18n.language import _
from dashboard.page.install_command import Entrance
from dashboard.page.layout import SECRETS
from dashboard.page.page import discover
from dashboard.publishing.publisher import PUBLISHERS, Publisher
from dashboard.server import ended_runs, stale_refreshes
from dashboard.widgets import component, theme
from runtime.errors import UserError
from runtime.settings.address import is_loopback
from runtime.settings.dashboard import DashboardSettings
from schemas.database.engine import open_engine

_SCRIPT: Final = Path(__file__).parent / "main.py"
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1", "[::1]")
_WARM: Final = ("pandas", "pyarrow")
"""Imported with all pages at start, so that the first visitor does not wait; `gc.freeze` exempts it from collection."""

_PORT_TAKEN: Final = 1  # what Streamlit exits with when the port was taken after our look at it
_ERROR_REFERENCE_MODULO: Final = 1_000_000

_log = logging.getLogger(__name__)


class ServeError(UserError):
    """The dashboard cannot listen; the message is one sentence for the person who starts it."""


def run(settings: DashboardSettings, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises ServeError or DatabaseError when it cannot start."""
    _refuse_in_the_clear(settings)
    _require_free(settings.bind, settings.port)
    accounts = open_accounts(settings.auth_database.get_secret_value())
    try:
        build(settings, accounts, on_ready=on_ready).run(config=options(settings))
    except KeyboardInterrupt:
        _log.info("stopped")  # uvicorn raises the signal again when it has closed everything
    except SystemExit as stopped:
        if stopped.code == _PORT_TAKEN:
            raise ServeError(_taken(settings.bind, settings.port)) from None
        if stopped.code:
            raise ServeError("the dashboard could not start: its log says why") from None
    finally:
        accounts.dispose()


def build(
    settings: DashboardSettings,
    accounts: Engine,
    *,
    now: Now = lambda: time.time_ns() // 1_000_000,
    on_ready: Callable[[], None] = lambda: None,
) -> st.App:
    """The ASGI application."""
    stale_refreshes.leave_out()
    ended_runs.keep()
    sessions = Sessions(
        accounts,
        idle_seconds=settings.session_idle_seconds,
        max_seconds=settings.session_max_seconds,
        now=now,
    )
    publisher, its_name = Publisher.of(settings), secrets.token_hex(8)
    entrance = Entrance.of(settings)
    sign_in = SignIn(accounts, sessions, Attempts(accounts, now=now), port=settings.port, provider=settings.oidc_host)
    single_sign_on = SingleSignOn(settings, accounts, sign_in).routes() if settings.oidc_issuer else []
    database = settings.database.get_secret_value()
    downloads = Downloads(partial(open_engine, database, read_only=True), now=now)
    return st.App(
        _SCRIPT,
        secrets={
            SECRETS: {
                "database": database,
                "refresh_seconds": settings.refresh_seconds,
                "process": its_name,
                "machines_server": entrance.server,
                "ca_file": str(entrance.ca_file or ""),
            }
        },
        routes=[*sign_in.routes(), *single_sign_on, *component.routes(), *downloads.routes()],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK_NAMES, *settings.hosts], www_redirect=False),
            Middleware(Gate, sessions=sessions, cookie=sign_in.token),
        ],
        lifespan=_lifespan(settings, publisher, People(accounts, sessions), its_name, on_ready),
        on_script_error=_script_failed,
    )


def options(settings: DashboardSettings) -> dict[str, Any]:
    """Streamlit's configuration for these settings."""
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


def _lifespan(
    settings: DashboardSettings, publisher: Publisher, people: People, its_name: str, on_ready: Callable[[], None]
) -> Any:  # noqa: ANN401 - Streamlit's own shape
    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        for name in _WARM:
            importlib.import_module(name)
        discover(pages)
        language.load()
        gc.collect()
        gc.freeze()
        announcing = asyncio.create_task(_announce(settings, on_ready))
        PUBLISHERS[its_name], PEOPLE[its_name] = publisher, people
        publisher.start()
        try:
            yield
        finally:
            announcing.cancel()
            await asyncio.to_thread(publisher.stop)
            del PUBLISHERS[its_name], PEOPLE[its_name]

    return lifespan


async def _announce(settings: DashboardSettings, on_ready: Callable[[], None]) -> None:
    """Ask our own port until it answers. The socket listens already, so the first question waits for the answer."""
    reader, writer = await asyncio.open_connection(_reachable(settings.bind), settings.port)
    writer.write(f"GET {READY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()
    if b" 200 " in status:
        on_ready()
    else:
        _log.error("the dashboard does not answer: %s", status.decode("ascii", "replace").strip())


def _refuse_in_the_clear(settings: DashboardSettings) -> None:
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
        f"port {port} on {bind} is taken or not allowed: stop what uses it, or give the dashboard another one "
        "(its setting port, DASHFLEET_DASHBOARD_PORT)"
    )


def _reachable(bind: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared, not bound


def _script_failed(error: Exception) -> bool:
    """Show a reference instead of a traceback, which goes to the log."""
    reference = f"{time.time_ns() // 1_000_000 % _ERROR_REFERENCE_MODULO:06d}"
    _log.error("a page failed (reference %s)", reference, exc_info=error)
    st.error(_("This page could not be drawn. The dashboard's log says why, at reference {n}.", n=reference))
    return True
