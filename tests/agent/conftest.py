"""What the agent's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from outboxes import Machine


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[Machine]:
    """A place for outboxes; all that are opened in it are closed with the test."""
    found = Machine(tmp_path, clock)
    yield found
    found.close()
