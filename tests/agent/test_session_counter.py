"""Session numbers grow, whatever happens to the clock, the process and the disk."""

import os
from pathlib import Path

import pytest
from clocks import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.session_counter import SessionCounter
from schemas.contract.messages import INTEGER_MAX


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session"


def test_a_session_is_the_time_in_milliseconds(path: Path, clock: Clock) -> None:
    assert SessionCounter(path, clock).next() == clock.now()


def test_sessions_grow_within_one_millisecond(path: Path, clock: Clock) -> None:
    sessions = SessionCounter(path, clock)

    assert [sessions.next() for _ in range(3)] == [clock.now(), clock.now() + 1, clock.now() + 2]


@settings(max_examples=30, deadline=None)
@given(jumps=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_sessions_grow_across_restarts_whatever_the_clock_does(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[float]
) -> None:
    clock, path = Clock(), tmp_path_factory.mktemp("sessions") / "session"
    last = 0
    for jump in jumps:
        session = SessionCounter(path, clock).next()
        assert session > last
        last = session
        clock.advance(jump)


def test_a_session_is_saved_and_synced_before_it_is_used(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    session = SessionCounter(path, clock).next()

    assert path.read_text() == str(session)
    assert synced[0] == len(str(session))  # the file, and after it the directory


def test_without_a_place_to_save_them_sessions_still_grow(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = SessionCounter(tmp_path / "missing" / "session", clock)

    assert sessions.next() < sessions.next()
    assert "cannot save the session number" in caplog.text


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff", b"-5", b"9" * 30, str(INTEGER_MAX).encode(), b"1" * 5000])
def test_a_damaged_file_is_as_good_as_none(path: Path, clock: Clock, content: bytes) -> None:
    path.write_bytes(content)

    assert SessionCounter(path, clock).next() == clock.now()


def test_the_next_session_goes_beyond_one_that_was_seen(path: Path, clock: Clock) -> None:
    sessions = SessionCounter(path, clock)
    sessions.exceed(clock.now() + 1000)

    assert sessions.next() == clock.now() + 1001


def test_a_session_that_no_clock_can_have_made_is_not_followed(path: Path, clock: Clock) -> None:
    sessions = SessionCounter(path, clock)
    sessions.exceed(INTEGER_MAX)

    assert sessions.next() == clock.now()
