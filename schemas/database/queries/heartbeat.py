"""Whether an ingestor runs and is connected to the broker, as its heartbeats tell.

On SQLite the row of an ingestor has a heartbeat of the last ROW_SECONDS only, and a mapped file the newest one
(`schemas.database.heartbeat_file`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, Row, Select, select

from schemas.database.engine import sqlite_file
from schemas.database.heartbeat_file import heartbeat_path, read_heartbeat
from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import ingestor

HEARTBEAT_SECONDS = 2.0
PATIENCE_SECONDS = 5 * HEARTBEAT_SECONDS
ROW_SECONDS = 30.0
"""Time between two heartbeats in the row of an ingestor that has a file."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat of an ingestor: when it was committed (milliseconds, server's clock), and its connection."""

    at: int
    broker_connected: bool


def latest_heartbeat(engine: Engine) -> Heartbeat | None:
    """Return the last heartbeat of any ingestor, or None when there was none yet."""
    return max(_heartbeats(engine), key=lambda beat: beat.at, default=None)


def find_trouble(engine: Engine, *, now: int) -> str:
    """Return a sentence if no ingestor is alive and connected, else an empty text. `now` is in milliseconds."""
    return judge_heartbeats(_heartbeats(engine), now=now)


def judge_heartbeats(beats: Sequence[Heartbeat], *, now: int) -> str:
    """Return the sentence of `find_trouble` for these heartbeats, the last of each ingestor."""
    alive = [beat for beat in beats if now - beat.at <= PATIENCE_SECONDS * 1000]
    if not alive:
        silent = (now - max(beat.at for beat in beats)) / 1000 if beats else 0
        return f"no heartbeat from any ingestor for {silent:.0f} s" if beats else "no ingestor has run yet"
    return "" if any(beat.broker_connected for beat in alive) else "the ingestor is not connected to the broker"


def every_ingestor() -> Select[tuple[str, int, bool, int]]:
    """Return the query of all ingestors, whose rows `newest_heartbeat` takes."""
    return select(ingestor.c.name, ingestor.c.beat_at, ingestor.c.broker_connected, ingestor.c.epoch)


def newest_heartbeat(engine: Engine, row: Row[tuple[str, int, bool, int]]) -> Heartbeat:
    """Return the last heartbeat of the ingestor with this row."""
    if engine.dialect.name == "sqlite":
        beat = read_heartbeat(heartbeat_path(sqlite_file(engine), row.name))
        if beat is not None and beat.epoch == row.epoch:
            return Heartbeat(beat.at, beat.broker_connected)
        if beat is not None and beat.epoch < row.epoch:  # it was replaced, or has just started again
            return Heartbeat(max(beat.at, row.beat_at), row.broker_connected)
    return Heartbeat(row.beat_at, row.broker_connected)


def _heartbeats(engine: Engine) -> list[Heartbeat]:
    return [newest_heartbeat(engine, row) for row in fetch_all(engine, every_ingestor())]
