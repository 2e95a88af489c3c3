"""An idle dashboard wakes up seldom."""

import asyncio
import signal
import threading

import pytest
import uvicorn
from streamlit.web import bootstrap

from dashboard.server import wake_ups
from dashboard.server.wake_ups import TICK_SECONDS


@pytest.fixture(autouse=True)
def _changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that are taken back after the test."""
    monkeypatch.setattr(uvicorn.Server, "main_loop", uvicorn.Server.main_loop)
    monkeypatch.setattr(bootstrap, "_install_config_watchers", bootstrap._install_config_watchers)
    wake_ups.apply()


def test_uvicorn_ticks_twice_a_second_renews_its_header_each_second_and_ends_after_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            server.handle_exit(signal.SIGTERM, None)

    async def app(scope: object, receive: object, send: object) -> None:
        """Answer nothing."""

    server = uvicorn.Server(uvicorn.Config(app))
    headers: list[object] = []
    on_tick = server.on_tick

    async def counted(ticks: int) -> bool:
        server.server_state.default_headers = []
        ended = await on_tick(ticks)
        headers.append(bool(server.server_state.default_headers))
        return ended

    monkeypatch.setattr(server, "on_tick", counted)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(server.main_loop())
    assert slept == [TICK_SECONDS] * 4
    assert headers == [True, False, True, False, True]


def test_streamlit_starts_no_thread_that_reads_its_configuration_files() -> None:
    before = set(threading.enumerate())
    bootstrap._install_config_watchers({})
    assert set(threading.enumerate()) == before
