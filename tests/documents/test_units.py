"""The systemd units of the documents and of the installation: valid, and as confined as the documents say."""

import re
import subprocess
from pathlib import Path

import pytest
from servers import require_program

from agent.services.systemd import UNIT
from agent.services.systemd import unit as unit_text

ROOT = Path(__file__).parents[2]
EXPOSURE_MAX = 2.0
"""Of 10; systemd calls up to 2.9 OK."""


def units() -> dict[str, str]:
    """Return the whole units in the documents, by the name that the text before them gives, and the agent's."""
    found = {}
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text()
        for block in re.finditer(r"^```\n(\[Unit\]\n.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
            names = re.findall(r"`/etc/systemd/system/([\w@-]+\.service)`", text[: block.start()])
            found[names[-1]] = block[1]
    return {**found, UNIT.name: unit_text(Path("/opt/dashfleet/bin/dashfleet"), Path("/var/lib/dashfleet"))}


@pytest.fixture(params=sorted(units()))
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit as a file; its program exists here."""
    path = tmp_path / str(request.param).replace("@", "@ingestor")
    path.write_text(units()[request.param].replace("/opt/dashfleet/bin/dashfleet", "/bin/true"))
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    program = require_program("systemd-analyze", "systemd")
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)


def test_the_agent_and_the_parts_of_the_server_have_one() -> None:
    assert set(units()) == {"dashfleet-agent.service", "dashfleet@.service"}


def test_a_unit_is_valid(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said == []
    assert done.returncode == 0, done.stderr


def test_a_unit_is_confined(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX, done.stdout
