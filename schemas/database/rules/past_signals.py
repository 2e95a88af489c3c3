"""The stored signals that a rule compares, of many machines over some days, as values in order of time.

Invariants:
- Of metrics, only the hours in which the condition may have been fulfilled are read in minutes.
- At most MINUTES_MAX rows are read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Float, Row, Table, and_, case, cast, func, literal, or_, select

from schemas.alerts.condition import Condition
from schemas.alerts.device_readings import SERIES_HOLD
from schemas.alerts.item_health import worst_item
from schemas.contract.alert_rules import HEALTH_METRICS
from schemas.contract.messages import VITALS
from schemas.database.columns import as_float
from schemas.database.queries.fetch import fetch_all, fetch_where_in
from schemas.database.rules.days_left import read_days_left, read_mounts_left, soonest_full
from schemas.database.rules.past_devices import DevicePoints, read_device_points
from schemas.database.rules.stored_items import read_healths
from schemas.database.tables import dead_letter, hour, incident, minute, org, transition
from schemas.fleet.history import HOUR, MINUTE

WITH_HISTORY: Final = ("above", "below", "rate-above", "rate-below", "no-data", "away", "rejected")
MINUTES_MAX: Final = 100_000
_HOLD: Final = 150_000
"""Milliseconds for which the value of a minute counts without the next one."""

Points = list[tuple[int, float | None]]


@dataclass(slots=True)
class Signals:
    """Values in order of time by machine key. `hold`: see `schemas.alerts.timeline.Timeline`."""

    points: dict[int, Points] | dict[int, DevicePoints] = field(default_factory=dict)
    hold: int | None = None
    complete: bool = True


def read_signals(
    engine: Engine, org_name: str, condition: Condition, machines: Sequence[Row[Any]], start: int, now: int
) -> Signals:
    """Return the signals after `start`; empty for a kind of which nothing is stored."""
    kind, ids = condition.rule.kind, [row.id for row in machines]
    if kind == "unhealthy":
        healths = read_healths(engine, condition.rule.metric, ids)
        return Signals({id_: [(now, *worst_item(condition.rule, each))] for id_, each in healths.items()})
    if kind == "disk-full" and condition.rule.device:
        mounts = read_mounts_left(engine, ids, now)
        return Signals({id_: [(now, *soonest_full(condition.rule.device, each))] for id_, each in mounts.items()})
    if condition.rule.device and kind != "changed":
        devices, complete = read_device_points(engine, condition, ids, start, now)
        return Signals(devices, SERIES_HOLD, complete)
    if kind in ("above", "below", "no-data", "rate-above", "rate-below"):
        return _of_minutes(engine, condition, ids, start)
    if kind == "away":
        return Signals(_of_presence(engine, org_name, ids, start))
    if kind == "rejected":
        return Signals(_of_rejections(engine, org_name, {row.name: row.id for row in machines}, start))
    left = read_days_left(engine, ids, now) if kind == "disk-full" else {}
    points: dict[int, Points] = {id_: [(now, days)] for id_, days in left.items()}
    return Signals(points)


def away_value(presence: str, reason: str) -> float | None:
    """Return 1 for a machine that went silent without a graceful stop, 0 for another one."""
    if presence not in ("offline", "expired"):
        return None if presence in ("", "unknown") else 0.0
    return float(reason in ("lost", "silent", "expired"))


def _of_minutes(engine: Engine, condition: Condition, ids: Sequence[int], start: int) -> Signals:
    found, complete = dict[int, Points](), True
    rate, rows = condition.rule.kind.startswith("rate-"), 0
    value = _minute_value(condition)
    for id_, hours in _hours(engine, condition, ids, start).items():
        before = condition.for_ + MINUTE
        after = condition.clear + HOUR
        ranges = [minute.c.at.between(first - before, last + after) for first, last in _merged(hours, before + after)]
        query = select(minute.c.at, value.label("value")).where(minute.c.machine_id == id_, or_(*ranges))
        read = fetch_all(engine, query.where(minute.c.at >= start).order_by(minute.c.at).limit(MINUTES_MAX - rows + 1))
        rows += len(read)
        if rows > MINUTES_MAX:
            complete = False
            break
        points: Points = [(row.at, row.value) for row in read]
        found[id_] = _rates(points) if rate else points
    return Signals(found, _HOLD, complete)


def _hours(engine: Engine, condition: Condition, ids: Sequence[int], start: int) -> dict[int, list[int]]:
    """Return the hours, by machine key, in which the condition may have been fulfilled."""
    query = select(hour.c.machine_id, hour.c.at).where(hour.c.at > start - HOUR, _may_hold(condition))
    found: dict[int, list[int]] = {}
    for row in fetch_where_in(engine, query.order_by(hour.c.at), hour.c.machine_id, ids):
        found.setdefault(row.machine_id, []).append(row.at)
    recent = select(minute.c.machine_id, func.max(minute.c.at).label("at")).group_by(minute.c.machine_id)
    for row in fetch_where_in(engine, recent, minute.c.machine_id, ids):  # the last hours are not rolled up yet
        found.setdefault(row.machine_id, []).extend((row.at // HOUR * HOUR - HOUR, row.at // HOUR * HOUR))
    return {id_: sorted(set(hours)) for id_, hours in sorted(found.items())}


def _may_hold(condition: Condition) -> ColumnElement[bool]:
    rule = condition.rule
    if rule.kind == "above":
        return _part(hour, rule.metric, "max") >= min(condition.on, condition.off)
    if rule.kind == "below":
        return _part(hour, rule.metric, "min") <= max(condition.on, condition.off)
    if rule.kind == "no-data":
        return or_(*(_count(hour, name) < hour.c.samples for name in _watched(condition)))
    return _part(hour, rule.metric, "max") > _part(hour, rule.metric, "min")


def _minute_value(condition: Condition) -> ColumnElement[Any]:
    """Return the value of a minute: an average, the highest count, or the bit mask of missing metrics."""
    rule = condition.rule
    if rule.kind == "no-data":
        total: ColumnElement[Any] = literal(0)
        for bit, name in enumerate(_watched(condition)):
            total = total + case((_count(minute, name) == 0, 1 << bit), else_=0)
        return total
    return _part(minute, rule.metric, "max" if rule.kind.startswith("rate-") else "avg")


def _watched(condition: Condition) -> tuple[str, ...]:
    return (condition.rule.metric,) if condition.rule.metric else tuple(HEALTH_METRICS)


def _part(table: Table, metric: str, part: str) -> ColumnElement[Any]:
    if metric in VITALS:
        column = table.c[f"{metric}_{part}"]
        return cast(column, Float) if part == "avg" else as_float(column)
    place: ColumnElement[Any] = table.c.extra[metric, ("count", "min", "avg", "max").index(part)].as_float()
    return place


def _count(table: Table, metric: str) -> ColumnElement[Any]:
    if metric in VITALS:
        return table.c[f"{metric}_count"]
    return func.coalesce(table.c.extra[metric, 0].as_float(), 0)


def _merged(hours: Iterable[int], slack: int) -> list[tuple[int, int]]:
    """Return the ranges of hours that are no further apart than `slack`."""
    found: list[tuple[int, int]] = []
    for at in hours:
        if found and at - found[-1][1] <= HOUR + slack:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found


def _rates(counts: Points) -> Points:
    """Return the increase per second; None after a reset or a gap."""
    found: Points = []
    for (before, earlier), (at, count) in pairwise(counts):
        if earlier is None or count is None or count < earlier or at - before > _HOLD:
            found.append((at, None))
        else:
            found.append((at, (count - earlier) * 1000 / (at - before)))
    return found


def _of_presence(engine: Engine, org_name: str, ids: Sequence[int], start: int) -> dict[int, Points]:
    """Return 1 from when a machine went silent to when it came back; nothing is known during a mass silence."""
    query = select(transition.c.machine_id, transition.c.at, transition.c.after, transition.c.reason)
    query = query.where(transition.c.at > start).order_by(transition.c.at, transition.c.id)
    kinds = (incident.c.kind == "mass-silence") & (org.c.name == org_name)
    columns = (incident.c.started_at, incident.c.ended_at)
    silences = fetch_all(engine, select(*columns).join_from(incident, org).where(kinds))
    found: dict[int, Points] = {}
    for row in fetch_where_in(engine, query, transition.c.machine_id, ids):
        value = away_value(row.after, row.reason)
        if value and any(each.started_at <= row.at and row.at <= (each.ended_at or row.at) for each in silences):
            value = None
        found.setdefault(row.machine_id, []).append((row.at, value))
    return found


def _of_rejections(engine: Engine, org_name: str, ids: dict[str, int], start: int) -> dict[int, Points]:
    """Return the number of messages that were rejected within an hour, whenever it changes."""
    query = select(dead_letter.c.machine, dead_letter.c.received_at).where(
        and_(dead_letter.c.org == org_name, dead_letter.c.machine != "", dead_letter.c.received_at > start - HOUR)
    )
    times: dict[int, list[int]] = {}
    for row in fetch_all(engine, query.order_by(dead_letter.c.received_at)):
        if row.machine in ids:
            times.setdefault(ids[row.machine], []).append(row.received_at)
    found: dict[int, Points] = {}
    for id_, all_ in times.items():
        count, points = 0.0, list[tuple[int, float | None]]()
        for at, change in sorted([*((at, 1) for at in all_), *((at + HOUR, -1) for at in all_)]):
            count += change
            points.append((at, count))
        found[id_] = points
    return found
