from pathlib import Path

import pytest
from ingestor_fixtures import bench, fleet, make_bench, speaker

from runtime.state_directory import StateDirectory
from schemas.database.engine import open_engine, upgrade

__all__ = ["bench", "fleet", "make_bench", "speaker"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a state directory with an empty fleet."""
    engine = open_engine(StateDirectory(tmp_path).database_url)
    upgrade(engine)
    engine.dispose()
    return tmp_path
