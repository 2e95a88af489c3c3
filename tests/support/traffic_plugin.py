"""Validates all traffic of our parts in every test, and says at the end how many messages that were (`traffic.py`)."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import traffic

BASE = "DASHFLEET_TEST_TRAFFIC_BASE"
RECORDING = Path(__file__).parent / "recording"


def pytest_configure(config: pytest.Config) -> None:
    """Record in this process, and let the processes that tests start record too."""
    if importlib.util.find_spec("jsonschema_rs") is None:
        if os.environ.get("CI") == "true":
            pytest.exit("jsonschema-rs is missing: install requirements/dev.txt", 2)
        return
    if not hasattr(config, "workerinput"):
        os.environ[BASE] = tempfile.mkdtemp(prefix="traffic-")
    directory = Path(tempfile.mkdtemp(dir=os.environ[BASE]))
    os.environ[traffic.DIRECTORY] = str(directory)
    from broker.client.memory import MemoryTransport
    from broker.client.mqtt import Mqtt

    traffic.record(traffic.Recorder(directory), MemoryTransport, Mqtt)


def recording_environment() -> dict[str, str]:
    """Return the environment with which a child process records its messages; empty if nothing is recorded."""
    return {"PYTHONPATH": str(RECORDING)} if os.environ.get(traffic.DIRECTORY) else {}


@pytest.fixture(autouse=True)
def _traffic_is_valid() -> Iterator[None]:
    """Fail a test in which one of our parts has published what the contract does not permit."""
    yield
    directory = os.environ.get(traffic.DIRECTORY)
    if directory and (path := Path(directory) / "invalid").exists():
        wrong = path.read_text().splitlines()
        path.unlink()
        pytest.fail("messages that are not as the contract says:\n" + "\n".join(wrong[:10]))


@pytest.hookimpl(optionalhook=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the number of messages by topic."""
    if hasattr(config, "workerinput") or BASE not in os.environ:
        return
    base = Path(os.environ.pop(BASE))
    found = traffic.counts(base)
    shutil.rmtree(base, ignore_errors=True)
    if found.total():
        parts = ", ".join(f"{pattern} {number:,}" for pattern, number in found.most_common() if number)
        terminalreporter.write_line(f"{found.total():,} messages of our parts are as the contract says: {parts}")
