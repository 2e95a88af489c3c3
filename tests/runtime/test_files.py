"""Atomic writes, readable by the owner only."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.files import replace


@pytest.mark.parametrize("before", [None, 0o644])
def test_a_file_is_replaced_and_its_owners_alone(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_text("longer than what comes next")
        path.chmod(before)
    replace(path, "new\n")

    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace(path, "x" * 100_000 + "\ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = """
import resource, signal, sys
from pathlib import Path
from runtime.files import replace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    replace(Path(sys.argv[1]), "x" * 1000)
except OSError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    assert done.stdout == "refused\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
