"""Rows of a machine's charts: samples, unless they are too many or take too long."""

from collections.abc import Callable
from functools import partial

import pytest
from rollups import START, Keeper, arrived
from seeding import Fleet
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from dashboard.machine import chart_data
from dashboard.machine.chart_data import ChartData
from schemas.database.queries import history as history_queries
from schemas.fleet.history import HOUR, MINUTE, MINUTES, SAMPLES, Resolution, Retention

Read = Callable[..., ChartData]


@pytest.fixture
def read(fleet: Fleet, reader: Engine) -> Read:
    """Reads the hour in which a machine has sent 30 samples, two of them in the last minute."""
    machine = fleet.machine("web-1")
    keeper = Keeper(fleet.engine)
    keeper.write(*(arrived(machine, START + i * 30_000, i, cpu=float(i)) for i in range(1, 31)))
    keeper.now = START + 15 * MINUTE
    while keeper.step():
        pass
    return partial(
        chart_data.read,
        reader,
        machine,
        end=START + 16 * MINUTE,
        length=HOUR,
        interval_seconds=30.0,
        retention=Retention(),
        extras=[],
    )


def test_up_to_the_limit_samples_are_read(read: Read) -> None:
    found = read(samples_max=30)
    assert (found.resolution, found.is_reduced, len(found.rows)) == (SAMPLES, False, 30)


def test_above_it_minutes_are_read(read: Read) -> None:
    found = read(samples_max=20)
    assert (found.resolution, found.is_reduced) == (MINUTES, True)
    assert [row["cpu_percent"] for row in found.rows][:2] == [1.0, 2.5]


def test_minutes_are_read_also_when_reading_the_samples_takes_too_long(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = history_queries.read_history

    def slow(*given: object, resolution: Resolution, **named: object) -> object:
        if resolution == SAMPLES:
            raise OperationalError("SELECT", {}, Exception("interrupted"))
        return whole(*given, resolution=resolution, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(history_queries, "read_history", slow)
    found = read(samples_max=1000)
    assert (found.resolution, found.is_reduced) == (MINUTES, True)


def test_another_failure_is_not_hidden(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise OperationalError("SELECT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(history_queries, "read_history", fail)
    with pytest.raises(OperationalError):
        read(samples_max=1000)
