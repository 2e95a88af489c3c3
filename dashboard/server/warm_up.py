"""Loading what only pages need, when the first browser comes: half of the process's memory while nobody looks.

Streamlit imports pandas, pyarrow and numpy with the first text input of a page. They are loaded in a thread as soon as
somebody opens the sign-in form, or a page while signed in, so that the first page does not wait for them. Programs that
use the HTTP API do not need them.
"""

import gc
import threading
from importlib import import_module
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.auth.middleware import SIGN_IN
from dashboard.i18n import language

_MODULES: Final = ("numpy", "pyarrow", "pandas")
_COLLECTED_AFTER: Final = (10_000, 20, 10)
"""Thresholds of the garbage collector: one refresh of a table makes thousands of objects that need no collection, and
Python's usual 700 would have it look at them ten times."""


class WarmUp:
    """Middleware that starts the loading with the first browser."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if not self._started and _is_browser(scope):
            self._started = True
            threading.Thread(target=load, name="warm-up", daemon=True).start()
        await self._app(scope, receive, send)


def _is_browser(scope: Scope) -> bool:
    """Return whether this is a request for the sign-in form, or the connection that a page keeps open."""
    kind: str = scope["type"]
    return kind == "websocket" or (kind == "http" and str(scope["path"]).endswith(SIGN_IN))


def load() -> None:
    """Import the modules and read the catalogues; exempt what was loaded from the garbage collection."""
    for name in _MODULES:
        import_module(name)
    language.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
