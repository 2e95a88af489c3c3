"""What the parts' processes import, and when."""

import subprocess
import sys

import pytest

from cli.up import forked_parts

HEAVY = (
    "pandas",
    "pyarrow",
    "numpy",
    "alembic",
    "apprise",
    "webauthn",
    "authlib",
    "httpx2",
    "rich",
    "streamlit",
    "cryptography",
)
NEEDED = {"dashboard": {"streamlit"}}


@pytest.mark.parametrize("part", forked_parts.MODULES)
def test_a_part_has_not_imported_what_only_some_of_its_work_needs(part: str) -> None:
    code = f"import sys, {forked_parts.MODULES[part]}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == NEEDED.get(part, set())


def test_what_the_parts_share_starts_no_thread_and_has_none_of_what_only_one_part_or_a_browser_needs() -> None:
    code = (
        "import sys, threading; from cli.up import forked_parts; forked_parts.share(); "
        "assert threading.active_count() == 1; "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
    assert not done.stderr
