import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ingestor_fixtures import bench, fleet, make_bench, speaker

from ingestor.admin.access import new_org
from runtime.clock import SystemClock
from runtime.state_directory import StateDirectory
from schemas.database.engine import open_engine, upgrade

__all__ = ["bench", "fleet", "make_bench", "speaker"]


@pytest.fixture
def data(tmp_path: Path, migrated_file: Path) -> Path:
    """Return a state directory with an empty fleet."""
    engine = open_engine(StateDirectory(tmp_path).database_url)
    shutil.copyfile(migrated_file, str(engine.url.database))
    upgrade(engine)
    engine.dispose()
    return tmp_path


@pytest.fixture
def add_orgs(data: Path) -> Callable[..., None]:
    """Add organisations to this fleet, as `dashfleet org add` does."""

    def add_orgs(*names: str) -> None:
        engine = open_engine(StateDirectory(data).database_url)
        for name in names:
            new_org(engine, name, now=SystemClock().now)
        engine.dispose()

    return add_orgs
