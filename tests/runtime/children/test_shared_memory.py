import subprocess
import sys

import pytest

from runtime.children.forked_process import can_fork

PROGRAM = """
import os, sys
from pathlib import Path
from runtime.children.shared_memory import arrange_for_forks
from runtime.process import release_memory

blocks = [bytes(1000) for _ in range(20_000)]
del blocks[::2]  # gaps, in every page
{"arranged": arrange_for_forks, "released": release_memory}[sys.argv[1]]()
if os.fork() == 0:
    new = [bytes(1000) for _ in range(8_000)]
    fields = Path("/proc/self/smaps_rollup").read_text().split()
    print(fields[fields.index("Private_Dirty:") + 1])
else:
    os.wait()
"""


@pytest.mark.skipif(not can_fork(), reason="processes are not forked here")
def test_what_a_child_allocates_is_not_put_between_what_it_shares() -> None:
    arranged, released = (_private_kib("arranged"), _private_kib("released"))
    assert arranged < 0.75 * released


def _private_kib(how: str) -> int:
    """Return the memory of a forked child that is not shared, after 8 MB were allocated."""
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout)
