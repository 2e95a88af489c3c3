"""Fixtures of the agent's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from outboxes import OutboxMachine


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[OutboxMachine]:
    """A directory for outboxes, which are closed after the test."""
    found = OutboxMachine(tmp_path, clock)
    yield found
    found.close()
