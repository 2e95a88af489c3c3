"""What became of the numbers of devices: each is stored once, with all its readings, in the order of issue."""

from collections.abc import Sequence
from pathlib import Path

from faults.probe.device_collectors.devices import journal_of, series_of
from sqlalchemy import Engine, select

from schemas.database import tables
from schemas.database.series.stored_series import read_samples

_EVER = 1 << 60


def issued_by(directory: Path, machine: str) -> list[int]:
    """Return the numbers that a machine took into samples, from its journal."""
    return [int(line) for line in journal_of(directory, machine).read_text().split()]


def judge_series(
    engine: Engine,
    issued: Sequence[int],
    machine: str,
    *,
    dropped: bool = False,
    on_their_way: int = 1,
    by_seq: bool = False,
) -> dict[str, int]:
    """Return how many numbers of a machine were stored, and are missing, spurious or corrupted.

    The last ones, `on_their_way`, may not have found their samples, or those not the server. `dropped`: those of the
    oldest samples may be gone, too. `by_seq`: the order is that of their numbers: a server that was away estimates a
    machine's clock anew, so times may go back by a moment.
    """
    with engine.connect() as connection:
        query = select(tables.machine.c.id).where(tables.machine.c.name == machine)
        machine_id = connection.scalars(query).one()
    places = {number: place for place, number in enumerate(issued)}
    found, spurious, corrupted = list[int](), 0, 0
    samples = read_samples(engine, machine_id, start=0, end=_EVER)
    for sample in sorted(samples, key=lambda sample: sample.key) if by_seq else samples:
        number = int(sample.readings["device_number"].get("/d0") or -1)
        if number not in places:
            spurious += 1
            continue
        found.append(places[number])
        corrupted += without_null(sample.readings) != without_null(series_of(number))
    spurious += len(found) - len(set(found))
    corrupted += found != sorted(found)
    first = min(found, default=0) if dropped else 0
    missing = set(range(first, len(issued) - on_their_way)) - set(found)
    return {"stored": len(found), "missing": len(missing), "spurious": spurious, "corrupted": corrupted}


def without_null(series: object) -> dict[str, dict[str, float]]:
    """Return the readings that are known: a block has no column for a device without any, and no metric either."""
    assert isinstance(series, dict)
    known = {
        metric: {name: reading for name, reading in devices.items() if reading is not None}
        for metric, devices in series.items()
    }
    return {metric: devices for metric, devices in known.items() if devices}
