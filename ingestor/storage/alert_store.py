"""The SQL of alert rules and of the evaluation of late data."""

import logging
from collections.abc import Collection
from operator import attrgetter
from typing import Any, NamedTuple, cast

from pydantic_core import from_json
from sqlalchemy import Engine, func, literal, or_, select, true
from sqlalchemy.engine import Connection

from ingestor.domain.alert import Alert
from ingestor.domain.presence import Presence
from ingestor.storage.incident_store import find_alerts
from schemas.alerts.readings import SamplePoint
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import VITALS, Vitals
from schemas.database.newest_series import newest_row
from schemas.database.queries.history import sampled_within
from schemas.database.rule_rows import read_rule
from schemas.database.sample_key import key_minute
from schemas.database.series.stored_series import read_samples
from schemas.database.tables import (
    alert,
    alert_rule,
    dead_letter,
    dirty,
    minute,
    org,
    pruned,
    sample,
    series_sample,
    transition,
)
from schemas.fleet.history import MINUTE
from schemas.series.sample_block import Readings

POINTS_MAX = 5_000
"""Samples evaluated in one step, about a tenth of a second: a flood of late samples does not delay other machines."""

GRACEFUL = ("stopped", "restarting", "rebooting", "asleep")
"""Reasons of a stop in order."""

log = logging.getLogger(__name__)


class StoredRule(NamedTuple):
    """A rule and the time of its last change."""

    rule: AlertRule
    changed_at: int


def rules_fingerprint(connection: Connection) -> tuple[Any, ...]:
    """Return a value that changes whenever a rule is added, changed or removed."""
    columns = (func.count(), func.max(alert_rule.c.id), func.sum(alert_rule.c.id), func.sum(alert_rule.c.changed_at))
    return tuple(connection.execute(select(*columns)).one())


def read_rules(connection: Connection) -> dict[str, list[StoredRule]]:
    """Return the rules by organisation, by name; without those that this version cannot read."""
    query = select(alert_rule, org.c.name.label("org")).join_from(alert_rule, org).order_by(alert_rule.c.name)
    found: dict[str, list[StoredRule]] = {}
    for row in connection.execute(query):
        rule = read_rule(row)
        if rule is None:
            log.warning("the alert rule %s of %s cannot be read and is not evaluated: edit it", row.name, row.org)
        else:
            found.setdefault(row.org, []).append(StoredRule(rule, row.changed_at))
    return found


def read_points(
    engine: Engine, machine_id: int, start: int, end: int, metrics: Collection[str] = ()
) -> list[SamplePoint]:
    """Return a machine's stored samples after `start` until `end` (server's clock), oldest first.

    A sample that is dated after its arrival counts as taken when it arrived. At most POINTS_MAX samples are read.
    `metrics`: those whose series are read, too.
    """
    series: dict[tuple[int, int], Readings] = {}
    if metrics:
        found = read_samples(engine, machine_id, start=start, end=end, metrics=metrics)
        series = {sample.key: sample.readings for sample in found}
    offset, delay = sample.c.clock_offset_milliseconds, sample.c.delay_milliseconds
    at, key = sample.c.sampled_at + offset, (sample.c.stream_number, sample.c.seq)
    query = (
        select(at, delay - offset, offset, *key, sample.c.extra, *(sample.c[name] for name in VITALS))
        .where(sampled_within(machine_id, start, end), at > start, at <= end)
        .order_by(key_minute(sample.c.sampled_at), sample.c.sampled_at, *key)  # the key: no row beyond is read
        .limit(POINTS_MAX)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    points = [
        SamplePoint(
            at + min(0, ahead),
            Vitals.model_construct(**dict(zip(VITALS, vitals, strict=True))),
            extra or {},
            by,
            series.get((stream, seq), {}),
        )
        for at, ahead, by, stream, seq, extra, *vitals in rows
    ]
    return sorted(points, key=attrgetter("at"))


def next_minute(engine: Engine, machine_id: int, after: int) -> int | None:
    """Return the start of the first minute with samples that may be taken after this time; None if there is none."""
    places = [
        select(func.min(table.c.at)).where(table.c.machine_id == machine_id, table.c.at > after - MINUTE, condition)
        for table, condition in ((minute, true()), (dirty, dirty.c.length == MINUTE))
    ]
    with engine.connect() as connection:
        return min(filter(None, (connection.scalar(place) for place in places)), default=None)


def read_newest_series(engine: Engine, machine_id: int) -> Readings:
    """Return the newest series of a machine; empty if it has none."""
    with engine.connect() as connection:
        found = connection.scalar(select(newest_row(literal(machine_id), series_sample.c.readings)))
    return {} if found is None else cast(Readings, from_json(found))


def samples_before(engine: Engine, machine_id: int) -> int:
    """Return the time before which samples of a machine are deleted; 0 if none are."""
    with engine.connect() as connection:
        return connection.scalar(select(pruned.c.samples_before).where(pruned.c.machine_id == machine_id)) or 0


def oldest_new_minute(engine: Engine, machine_id: int) -> int | None:
    """Return the start of the oldest minute with samples that are not rolled up yet; None if there is none."""
    query = select(func.min(dirty.c.at)).where(dirty.c.machine_id == machine_id, dirty.c.length == MINUTE)
    with engine.connect() as connection:
        found: int | None = connection.scalar(query)
    return found


def read_goodbyes(engine: Engine, machine_id: int, start: int) -> list[int]:
    """Return the times at which a machine stopped in order, after `start`."""
    query = (
        select(transition.c.at)
        .where(transition.c.machine_id == machine_id, transition.c.at > start)
        .where(transition.c.after == Presence.OFFLINE.value, transition.c.reason.in_(GRACEFUL))
        .order_by(transition.c.at)
    )
    with engine.connect() as connection:
        return list(connection.scalars(query))


def read_machine_alerts(engine: Engine, machine_id: int, since: int, rules: Collection[str]) -> list[Alert]:
    """Return a machine's alerts of these rules that are open or ended after `since`, oldest first."""
    recent = or_(alert.c.ended_at.is_(None), alert.c.ended_at >= since)
    mine = (alert.c.machine_id == machine_id) & alert.c.rule.in_(rules)
    return find_alerts(engine, mine & recent)


def last_ends(connection: Connection, since: int) -> dict[int, int]:
    """Return the time of the last end of an alert after `since`, by machine id."""
    query = select(alert.c.machine_id, func.max(alert.c.ended_at)).where(alert.c.ended_at >= since)
    return {row[0]: row[1] for row in connection.execute(query.group_by(alert.c.machine_id))}


def read_rejections(connection: Connection, since: int) -> list[tuple[str, str, int]]:
    """Return the messages of machines rejected after `since`: organisation, machine, time."""
    query = select(dead_letter.c.org, dead_letter.c.machine, dead_letter.c.received_at)
    rows = connection.execute(query.where(dead_letter.c.received_at > since, dead_letter.c.machine != ""))
    return [(row.org, row.machine, row.received_at) for row in rows]
