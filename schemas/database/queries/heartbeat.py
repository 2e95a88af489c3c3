"""Whether an ingestor lives and hears, for whatever watches over it."""

from collections.abc import Sequence

from sqlalchemy import Engine, select

from schemas.database import tables

HEARTBEAT_SECONDS = 2.0
PATIENCE_SECONDS = 5 * HEARTBEAT_SECONDS


def trouble(engine: Engine, *, now: int) -> str:
    """What is wrong, in one sentence; empty when an ingestor said a moment ago that it is connected."""
    columns = (tables.ingestor.c.beat_at, tables.ingestor.c.broker_connected)
    with engine.connect() as connection:
        beats = [(beat_at, connected) for beat_at, connected in connection.execute(select(*columns))]
    return judgement(beats, now=now)


def judgement(beats: Sequence[tuple[int, bool]], *, now: int) -> str:
    """The same of heartbeats: when each was committed, in milliseconds, and whether the broker was connected."""
    ages = [(now - beat_at) / 1000 for beat_at, _ in beats]
    if not any(age <= PATIENCE_SECONDS for age in ages):
        return f"no ingestor said anything for {min(ages):.0f} s" if ages else "no ingestor has run yet"
    if not any(connected and age <= PATIENCE_SECONDS for (_, connected), age in zip(beats, ages, strict=True)):
        return "the ingestor is not connected to the broker"
    return ""
