"""The record of the agent's connection: written when it changes, true of one process."""

import os
from pathlib import Path

import pytest
from clocks import Clock

from agent.connection_record import ConnectionRecord, ConnectionState, read_connection
from runtime.version import VERSION


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "agent").mkdir()
    return tmp_path


def test_it_tells_when_the_connection_began_and_whether_a_sample_of_this_process_is_stored(
    data: Path, clock: Clock
) -> None:
    record = ConnectionRecord(data, clock, first_seq=11)
    record.update(connected=True, acknowledged_seq=10)  # the sample was of the process before
    began_at = clock.now()
    state = ConnectionState(os.getpid(), VERSION, connected=True, changed_at=began_at, acknowledged=False)
    assert read_connection(data) == state
    clock.advance(5)
    record.update(connected=True, acknowledged_seq=11)
    state = ConnectionState(os.getpid(), VERSION, True, began_at, acknowledged=True, acknowledged_after_seconds=5.0)
    assert read_connection(data) == state
    assert state.is_running
    clock.advance(5)
    record.update(connected=False, acknowledged_seq=11)
    found = read_connection(data)
    assert found is not None
    assert (found.connected, found.changed_at) == (False, clock.now())


def test_nothing_is_written_while_nothing_changes(data: Path, clock: Clock) -> None:
    record = ConnectionRecord(data, clock, first_seq=1)
    record.update(connected=True, acknowledged_seq=1)
    (data / "agent" / "connection.json").unlink()
    for seq in range(2, 100):
        record.update(connected=True, acknowledged_seq=seq)
    assert read_connection(data) is None


def test_a_disk_that_cannot_be_written_costs_only_the_record(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ConnectionRecord(tmp_path / "missing", clock, first_seq=1).update(connected=True, acknowledged_seq=0)
    assert "cannot write" in caplog.text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1}'])
def test_a_record_of_another_version_is_none(data: Path, text: str) -> None:
    (data / "agent" / "connection.json").write_text(text)
    assert read_connection(data) is None


def test_a_process_that_has_ended_does_not_run() -> None:
    assert not ConnectionState(2**22 + 1, VERSION, connected=True, changed_at=0, acknowledged=True).is_running
