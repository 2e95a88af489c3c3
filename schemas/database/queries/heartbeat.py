"""Whether an ingestor runs and is connected to the broker, as its heartbeats tell."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import ingestor

HEARTBEAT_SECONDS = 2.0
PATIENCE_SECONDS = 5 * HEARTBEAT_SECONDS


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


def _heartbeats(engine: Engine) -> list[Heartbeat]:
    query = select(ingestor.c.beat_at, ingestor.c.broker_connected)
    return [Heartbeat(row.beat_at, row.broker_connected) for row in fetch_all(engine, query)]
