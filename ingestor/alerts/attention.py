"""Attention: decision whether an open alert is notified, or is acknowledged or silenced.

Invariants:
- Acknowledging and silencing change neither the begin nor the end of an alert, nor presence.
- An alert that begins while it is silenced is published as silenced from its first message on, which may be that of
  its end. When the silence ends while the alert is still open, the alert is published again without it, and the
  notifier tells it then.
- A restart or reboot that was ordered silences its machine until its outcome, at most RESTART_SECONDS.
- An alert that lies entirely in the past, and within a silence or an ordered restart, is silenced too.
- Requests and admin commands write to the database; it is read again every RELOAD_SECONDS, after a request, and when
  an alert begins.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, func, select

from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.alert import Alert, AlertKey
from ingestor.domain.batch import Batch
from ingestor.domain.machine import Description
from ingestor.intake.machine_cache import MachineCache
from ingestor.storage.incident_store import read_acknowledgements
from runtime.clock import Clock
from schemas.contract.alerts import COMMENT_MAX, Acknowledgement
from schemas.contract.commands import CommandState
from schemas.database.silence_rows import read_silence
from schemas.database.tables import command, org, request, silence
from schemas.fleet.silences import AppliedSilence, Silence, Window, applied, current, windows

RELOAD_SECONDS: Final = 5
RELOAD_PAUSE_SECONDS: Final = 0.25
"""Shortest time between two reads of the database."""

RESTART_ACTIONS: Final = ("restart", "reboot", "update")
RESTART_SECONDS: Final = 900
"""Longest time for which a restart or reboot silences its machine, after the delay that its order may have."""

DELAY_MAX_SECONDS: Final = 86_400
APPLYING_MAX: Final = 100_000
"""Alerts for which it is remembered which silence applies to them."""


PAST_MILLISECONDS: Final = 7 * 86_400_000
"""Time for which a silence that is over still applies to alerts that become known late."""


_UNFINISHED: Final = (CommandState.RUNNING.value, CommandState.TIMED_OUT.value)
"""States in which a restart still silences its machine."""

_UNKNOWN: Final = Description()
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Timed:
    """A silence with its present or next window, computed again when it is over, or the clock was set back.

    `seen_at`: when the window was asked for last.
    """

    silence: Silence
    window: Window | None
    seen_at: int

    def at(self, now: int) -> list[tuple[Silence, Window]]:
        """Return the silence with its window; nothing if it is past."""
        if now < self.seen_at or (self.window is not None and now >= self.window[1]):
            self.window = self.silence.window(now)
        self.seen_at = now
        return [] if self.window is None else [(self.silence, self.window)]


class Attention:
    """Keeps `acknowledged` and the silence of the open alerts up to date."""

    def __init__(self, engine: Engine, cache: MachineCache, assignment: WorkAssignment, clock: Clock) -> None:
        self._engine = engine
        self._cache = cache
        self._owns = assignment.owns
        self._clock = clock
        self._silences: dict[str, list[_Timed]] = {}
        self._current: dict[str, list[tuple[Silence, Window]]] = {}
        self._applying: dict[AlertKey, tuple[Description, AppliedSilence | None]] = {}
        """Silence of an alert, with the machine's description that it is valid for, until others are active."""
        self._restarts: dict[int, tuple[int, AppliedSilence]] = {}
        """By machine id: the begin of a restart, and the silence until its bound."""
        self._acknowledged: dict[int, Acknowledgement] = {}
        self._read_at = self._reload_at = 0.0
        """Seconds of the monotonic clock, as the server's clock may be set."""
        self._unreadable: set[int] = set()
        """The silences that were reported as unreadable."""
        self._boundary = 0.0
        """The time at which a window or a restart begins or ends next, in milliseconds."""

    def load(self) -> None:
        """Read the database now."""
        now = self._clock.now()
        self._read(now)
        self._advance(now)

    def reload(self) -> None:
        """Read the database again as soon as RELOAD_PAUSE_SECONDS have passed since the last time."""
        self._reload_at = min(self._reload_at, self._read_at + RELOAD_PAUSE_SECONDS)

    def apply(self, batch: Batch, active: Iterable[Alert]) -> None:
        """Update the alerts that the batch opens, and all `active` ones when the database is read again or something
        begins or ends; add those that changed.
        """
        now, monotonic = self._clock.now(), self._clock.monotonic()
        opened = [alert for alert in batch.alerts if alert.ended_at is None or alert.id is None]
        if opened:  # a silence may have been added since
            self.reload()
        due = monotonic >= self._reload_at or now >= self._boundary
        if monotonic >= self._reload_at:
            self._read(now)
        if due:
            self._advance(now)
        for alert in opened:
            if alert.past and alert.ended_at is not None:
                self._update_past(alert, alert.ended_at)
            else:  # open, or it began and ended within this batch
                self._update(alert, now)
        if due:
            known = {alert.id for alert in batch.alerts}
            batch.alerts += [
                alert
                for alert in active
                if alert.ended_at is None and alert.id not in known and self._update(alert, now)
            ]

    def _advance(self, now: int) -> None:
        """Compute which silences are active, until the next boundary."""
        found = {name: [each for timed in some for each in timed.at(now)] for name, some in self._silences.items()}
        before, self._current = self._current, {name: current(each, now) for name, each in found.items()}
        if before != self._current or now >= self._boundary:
            self._applying.clear()
        spans = [window for each in found.values() for _, window in each]
        spans += [(begins_at, restart.until) for begins_at, restart in self._restarts.values()]
        self._boundary = min((at for span in spans for at in span if at > now), default=math.inf)

    def _update(self, alert: Alert, now: int) -> bool:
        """Set what applies to an alert; return whether it changed."""
        before = alert.acknowledged, alert.silenced_until, alert.silence_reason
        alert.acknowledged = self._acknowledged.get(alert.id or 0)
        silenced = self._silence_of(alert, now)
        alert.silenced_until = None if silenced is None else silenced.until
        alert.silence_reason = "" if silenced is None else silenced.reason
        return before != (alert.acknowledged, alert.silenced_until, alert.silence_reason)

    def _update_past(self, alert: Alert, ended_at: int) -> None:
        """Set the silence of an alert that was over when it became known, if one covered all of it."""
        silences = (timed.silence for timed in self._silences.get(alert.org, ()))
        covering = [silence for silence in silences if silence.covers(alert.name, self._describe(alert), alert.rule)]
        found = applied(current(windows(covering, alert.started_at), alert.started_at), alert.started_at)
        if found is None or found.until <= ended_at:
            found = self._past_restart(alert, ended_at)
        if found is not None:
            alert.silenced_until, alert.silence_reason = found.until, found.reason

    def _past_restart(self, alert: Alert, ended_at: int) -> AppliedSilence | None:
        """Return the silence of a restart that was ordered, if the whole alert lies within it."""
        query = _select_restarts(alert.started_at).where(command.c.machine_id == alert.machine)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(command.c.running_at <= alert.started_at)).all()
        for row in rows:
            begins_at, found = _silence_of_restart(row)
            is_over = row.state not in _UNFINISHED and row.ended_at is not None
            until = min(found.until, row.ended_at) if is_over else found.until
            if begins_at <= alert.started_at and ended_at < until:
                return AppliedSilence(until, found.reason)
        return None

    def _describe(self, alert: Alert) -> Description:
        machine = self._cache.get(alert.org, alert.name)
        return _UNKNOWN if machine is None else machine.description

    def _silence_of(self, alert: Alert, now: int) -> AppliedSilence | None:
        active = self._current.get(alert.org)
        found = self._applied(alert, active, now) if active else None
        begins_at, restart = self._restarts.get(alert.machine, (0, None))
        if restart is None or not begins_at <= now < restart.until or (found and found.until >= restart.until):
            return found
        return restart

    def _applied(self, alert: Alert, active: list[tuple[Silence, Window]], now: int) -> AppliedSilence | None:
        described = self._describe(alert)
        known = self._applying.get(alert.key)
        if known is not None and known[0] is described:
            return known[1]
        found = applied([each for each in active if each[0].covers(alert.name, described, alert.rule)], now)
        if len(self._applying) >= APPLYING_MAX:
            self._applying.clear()
        self._applying[alert.key] = (described, found)
        return found

    def _read(self, now: int) -> None:
        self._read_at = self._clock.monotonic()
        self._reload_at = self._read_at + RELOAD_SECONDS
        self._acknowledged = read_acknowledgements(self._engine)
        known = {timed.silence.id: timed for silences in self._silences.values() for timed in silences}
        self._silences = {}
        ended_at = func.coalesce(silence.c.ended_at, silence.c.ends_at, now)
        query = select(silence, org.c.name.label("org")).join_from(silence, org)
        with self._engine.connect() as connection:
            for row in connection.execute(query.where(ended_at > now - PAST_MILLISECONDS)):
                if not self._owns(row.org):
                    continue
                found = read_silence(row)
                if found is None:
                    self._report_unreadable(row.id, row.org)
                else:
                    before = known.get(found.id)
                    same = before is not None and before.silence == found
                    timed = before if before is not None and same else _Timed(found, found.window(now), now)
                    self._silences.setdefault(row.org, []).append(timed)
        self._read_restarts(now)

    def _report_unreadable(self, id_: int, org_name: str) -> None:
        if id_ not in self._unreadable:
            self._unreadable.add(id_)
            log.warning("the silence %d of %s is ignored: a newer version of DashFleet wrote it", id_, org_name)

    def _read_restarts(self, now: int) -> None:
        with self._engine.connect() as connection:
            rows = connection.execute(_select_restarts(now).where(command.c.state.in_(_UNFINISHED))).all()
        self._restarts = {row.machine_id: _silence_of_restart(row) for row in rows}


def _select_restarts(at: int) -> Select[Any]:
    """Return the query for the restarts that were ordered and may silence their machines at a time."""
    columns = (command.c.machine_id, command.c.action, command.c.arguments, command.c.running_at)
    end = (command.c.state, command.c.ended_at)
    query = select(*columns, *end, request.c.actor, request.c.principal).join_from(command, request)
    since = at - (DELAY_MAX_SECONDS + RESTART_SECONDS) * 1000
    return query.where(command.c.action.in_(RESTART_ACTIONS), command.c.running_at >= since)


def _silence_of_restart(row: Row[Any]) -> tuple[int, AppliedSilence]:
    """Return the begin of a restart, and the silence until its bound."""
    delay = row.arguments.get("delay_seconds", 0) if isinstance(row.arguments, dict) else 0
    delay = min(delay, DELAY_MAX_SECONDS) if isinstance(delay, int) and delay > 0 else 0
    begins_at = row.running_at + delay * 1000
    reason = f"{row.action} ordered by {row.actor or row.principal}"[:COMMENT_MAX]
    return begins_at, AppliedSilence(begins_at + RESTART_SECONDS * 1000, reason)
