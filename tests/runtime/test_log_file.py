import logging
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.log_file import LogFile

FULL = Path("/dev/full")


def line(handler: LogFile, text: str) -> None:
    handler.emit(logging.makeLogRecord({"msg": "%s", "args": (text,)}))


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_once_and_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    reports: list[str] = []
    handler = LogFile(FULL, max_bytes=1000, kept=1, report=reports.append)
    for _ in range(1000):
        line(handler, "x" * 100)
    handler.close()
    assert len(reports) == 1
    assert reports[0].startswith("cannot write the log /dev/full: No space left on device")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_it_goes_on_when_there_is_space_again(tmp_path: Path) -> None:
    reports: list[str] = []
    path = tmp_path / "part.log"
    path.symlink_to(FULL)
    handler = LogFile(path, max_bytes=0, kept=1, report=reports.append)
    line(handler, "lost")
    path.unlink()
    full, handler.stream = handler.stream, handler._open()  # stands for space that was freed
    assert full is not None
    with suppress(OSError):
        full.close()
    line(handler, "kept")
    handler.close()
    assert path.read_text() == "kept\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(reports) == 1
