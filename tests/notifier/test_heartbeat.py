"""The outgoing heartbeat: sent while everything works, and not otherwise."""

import logging

import pytest
from service_stubs import http_stub
from waiting import wait_until

from notifier.heartbeat import HeartbeatCaller


def test_the_url_is_called_only_while_everything_works() -> None:
    trouble = ""
    with http_stub() as stub:
        caller = HeartbeatCaller(f"http://127.0.0.1:{stub.port}/ping", seconds=0.02, healthy=lambda: trouble)
        caller.start()
        wait_until(lambda: len(stub.received) > 1)
        trouble = "no heartbeat from any ingestor for 12 s"
        caller.call()
        before = caller.calls
        caller.call()
        caller.call()
        assert caller.calls <= before + 1  # a call under way may end
        trouble = ""
        wait_until(lambda: caller.calls > before + 1)
        caller.stop()
        assert stub.received[0].path == "/ping"


def test_a_service_that_cannot_be_reached_is_logged_once_and_without_its_url(caplog: pytest.LogCaptureFixture) -> None:
    with http_stub() as stub:
        stub.answer = lambda _: (500, {}, b"")
        caller = HeartbeatCaller(f"http://127.0.0.1:{stub.port}/s3cr3t", seconds=60, healthy=lambda: "")
        with caplog.at_level(logging.WARNING):
            caller.call()
            caller.call()
    caller.call()
    assert [record.getMessage() for record in caplog.records][:1] == ["no heartbeat is sent: the service answered 500"]
    assert "s3cr3t" not in caplog.text
    assert caller.calls == 0
