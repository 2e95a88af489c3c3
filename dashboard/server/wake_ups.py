"""Fewer wake-ups of an idle dashboard; they were most of its processor time.

uvicorn looks ten times a second whether it shall end. Streamlit reads its configuration files ten times a second,
although the dashboard gives it all its options. Both are private, so the versions are pinned and a test covers them.
"""

import asyncio
from typing import Any, Final

import uvicorn
from streamlit.web import bootstrap

TICK_SECONDS: Final = 0.5
"""The longest that the server goes on after a signal, and that its `date` header is behind by."""

_UVICORN_TICKS: Final = 5
"""Ticks of uvicorn in TICK_SECONDS; it renews the header with every tenth."""


def apply() -> None:
    """Apply the changes to this process. Idempotent."""
    setattr(uvicorn.Server, "main_loop", _main_loop)  # noqa: B010 - mypy allows no assignment
    setattr(bootstrap, "_install_config_watchers", _install_nothing)  # noqa: B010 - as above


async def _main_loop(server: uvicorn.Server) -> None:
    ticks = 0
    while not await server.on_tick(ticks):
        await asyncio.sleep(TICK_SECONDS)
        ticks += _UVICORN_TICKS


def _install_nothing(flag_options: dict[str, Any]) -> None:
    """Watch no files; `flag_options` are in force already."""
