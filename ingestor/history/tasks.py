"""The tasks of the maintenance of a database."""

from collections.abc import Sequence

from ingestor.history.disk_forecasts import DiskForecasts
from ingestor.history.maintenance import Task
from ingestor.history.retention import Pruning
from ingestor.history.rollup import Rollup
from ingestor.history.series_hours import SeriesHours
from ingestor.storage.store import Store


def tasks(store: Store) -> Sequence[Task]:
    """Return the tasks, the most urgent first."""
    return Rollup(store), SeriesHours(store), Pruning(store), DiskForecasts(store)
