"""Log records: one line each, in UTC, in a rotated file or on standard error."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import UserError
from runtime.logging_setup import start_logging
from runtime.settings.client import WatchSettings

HOSTILE = "one\ntwo\x1b[31m \N{SNOWMAN} \u2028"
log = logging.getLogger("part")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Restore the logging configuration of the test process."""
    root = logging.getLogger()
    handlers, level, converter = root.handlers[:], root.level, logging.Formatter.converter
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level, logging.Formatter.converter = handlers, level, converter
    logging.captureWarnings(capture=False)


def settings(**given: Any) -> WatchSettings:  # noqa: ANN401 - of any type
    return WatchSettings(data=Path(), **given)


def test_records_are_logged_to_standard_error_with_the_time_in_utc() -> None:
    code = """
import logging, os, time
os.environ["TZ"] = "Pacific/Kiritimati"
time.tzset()
from pathlib import Path
from runtime.logging_setup import start_logging
from runtime.settings.client import WatchSettings
start_logging(WatchSettings(data=Path()))
logging.getLogger("part").debug("too little")
logging.getLogger("part").info("hello")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    line = done.stderr.strip()
    assert line.endswith("Z INFO part: hello")
    assert done.stdout == ""
    day = subprocess.run(
        [sys.executable, "-c", "import time; print(time.strftime('%Y-%m-%dT%H', time.gmtime()))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert line.startswith(day[:10])


def test_json_is_one_line_of_ascii_a_record_with_its_exception(tmp_path: Path) -> None:
    file = tmp_path / "part.log"
    start_logging(settings(log_format="json", log_file=file))
    log.warning("heard %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    text = file.read_text(encoding="ascii")
    first, second = (json.loads(line) for line in text.splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("warning", "part", f"heard {HOSTILE}")
    assert first["at"].endswith("Z")
    assert "exception" not in first
    assert second["exception"].startswith("Traceback")
    assert HOSTILE in second["exception"]


def test_a_file_is_rotated_by_default_and_is_only_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "part.log"
    assert (settings().log_file_max_bytes, settings().log_files_kept) == (10 << 20, 5)
    start_logging(settings(log_file=file, log_file_max_bytes=1 << 16, log_files_kept=2))
    for number in range(3000):
        log.info("%d %s", number, "x" * 100)
    found = sorted(tmp_path.iterdir())
    assert [path.name for path in found] == ["part.log", "part.log.1", "part.log.2"]
    assert all(path.stat().st_size <= 1 << 16 and path.stat().st_mode & 0o777 == 0o600 for path in found)
    assert " 2999 " in file.read_text().splitlines()[-1]


def test_a_file_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write the log file .*: No such file or directory: set log_file"):
        start_logging(settings(log_file=tmp_path / "away" / "part.log"))
