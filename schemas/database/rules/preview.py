"""The preview of a rule: the machines that fulfil its condition now, and the alerts that it would have raised.

Invariants:
- The timelines are those of the live evaluation. Readings are the averages of minutes, since samples are kept for a
  shorter time: a peak that is shorter than a minute may be missing, and times are exact to the minute.
- What is read is bounded: MACHINES_MAX machines, MINUTES_MAX rows, ALERTS_MAX alerts. A preview that is not complete
  says so.
- Only the selector of the rule counts; other rules of its family may replace it on some machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row

from schemas.alerts.condition import Condition, describe_value, resolve
from schemas.alerts.readings import SamplePoint, read_value
from schemas.alerts.timeline import AlertSpan, Timeline, collect
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import VITALS, Vitals
from schemas.database.queries.fetch import fetch_all
from schemas.database.queries.fleet_order import PRESENCE_NOW, RETIRED
from schemas.database.queries.machines import select_machines
from schemas.database.queries.settings import read_settings
from schemas.database.rules import past_signals
from schemas.database.rules.rule_queries import read_traits
from schemas.database.tables import machine, state
from schemas.fleet.history import DAY

HISTORY_DAYS: Final = 7
MACHINES_MAX: Final = 500
ALERTS_MAX: Final = 200
_FROM_STATE: Final = ("above", "below", "no-data", "clock", "away")
_STATE: Final = ("presence", "verified", "reason", "extra", "clock_offset_milliseconds", *VITALS)


@dataclass(frozen=True, slots=True)
class PreviewAlert:
    """An alert that the rule would have raised."""

    machine: str
    started_at: int
    ended_at: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The preview. `selected`: number of machines. `now`: those that fulfil the condition, with their values.

    `has_history`: whether the history contains the signal of this kind of rule. `complete`: no bound was reached.
    """

    selected: int
    now: tuple[tuple[str, str], ...]
    alerts: tuple[PreviewAlert, ...]
    has_history: bool
    complete: bool


def preview_rule(engine: Engine, org_name: str, rule: AlertRule, *, now: int) -> Preview:
    """Return the preview of a rule that may not exist yet."""
    selected = _select(engine, org_name, rule)
    condition = resolve(rule, read_settings(engine, org_name)[0].thresholds)
    found = past_signals.read_signals(
        engine, org_name, condition, selected[:MACHINES_MAX], now - HISTORY_DAYS * DAY, now
    )
    alerts, latest = list[PreviewAlert](), dict[int, float | None]()
    for row in selected[:MACHINES_MAX]:
        spans, latest[row.id] = _evaluate(condition, found.points.get(row.id, ()), found.hold, now)
        alerts += [
            PreviewAlert(row.name, span.started_at, span.ended_at, describe_value(rule, span.value))
            for span in spans
            if rule.kind in past_signals.WITH_HISTORY
        ]
    matching = []
    for row in selected:
        value = _value_now(rule, row) if rule.kind in _FROM_STATE else latest.get(row.id)
        if condition.verdict(value, active=False):
            matching.append((row.name, describe_value(rule, value)))
    alerts.sort(key=lambda alert: -alert.started_at)
    complete = found.complete and len(selected) <= MACHINES_MAX and len(alerts) <= ALERTS_MAX
    has_history = rule.kind in past_signals.WITH_HISTORY
    return Preview(len(selected), tuple(matching), tuple(alerts[:ALERTS_MAX]), has_history, complete)


def _select(engine: Engine, org_name: str, rule: AlertRule) -> list[Row[Any]]:
    names = (machine.c.id, machine.c.name, machine.c.os, machine.c.agent_version, machine.c.labels)
    query = select_machines(org_name, *names, *(state.c[name] for name in _STATE)).where(PRESENCE_NOW != RETIRED)
    rows = fetch_all(engine, query.order_by(machine.c.name))
    return [row for row in rows if rule.selector.selects(row.name, read_traits(row))]


def _value_now(rule: AlertRule, row: Row[Any]) -> float | None:
    """Return the current value of a machine, from its state."""
    if rule.kind == "away":
        return past_signals.away_value(row.presence or "", row.reason or "")
    if row.presence != "online" or not row.verified:
        return None
    vitals = Vitals.model_construct(**{name: getattr(row, name) for name in VITALS})
    return read_value(rule, SamplePoint(0, vitals, row.extra or {}, row.clock_offset_milliseconds or 0), None, 0)


def _evaluate(
    condition: Condition, points: Sequence[tuple[int, float | None]], hold: int | None, now: int
) -> tuple[list[AlertSpan], float | None]:
    """Return the alerts that these values give, and the value that counts now."""
    timeline, spans = Timeline(condition, hold), list[AlertSpan]()
    for at, value in points:
        if at <= now:
            collect(spans, timeline.add(at, value))
    decision = timeline.advance(now)
    collect(spans, [decision] if decision else [])
    return spans, timeline.value if now <= timeline.known_until else None
