"""The preview of a rule: the machines that fulfil its condition now, and the alerts that it would have raised.

Invariants:
- The timelines are those of the live evaluation. Readings are the averages of minutes, since samples are kept for a
  shorter time: a peak that is shorter than a minute may be missing, and times are exact to the minute.
- What is read is bounded: MACHINES_MAX machines, MINUTES_MAX rows, ALERTS_MAX alerts. A preview that is not complete
  says so.
- Machines on which a more specific rule applies are counted, and not evaluated. A rule that is disabled is previewed
  as if it were enabled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row

from schemas.alerts.condition import Condition, describe_value, resolve
from schemas.alerts.device_readings import MeasuredValue
from schemas.alerts.readings import EarlierSamples, SamplePoint, read_value
from schemas.alerts.selection import explain_rules
from schemas.alerts.timeline import AlertSpan, Timeline, collect
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import VITALS, Vitals
from schemas.database.queries.fetch import fetch_all
from schemas.database.queries.fleet_order import PRESENCE_NOW, RETIRED
from schemas.database.queries.machines import select_machines
from schemas.database.queries.settings import read_settings
from schemas.database.rules import past_signals
from schemas.database.rules.rule_queries import list_rules, read_traits
from schemas.database.tables import machine, state
from schemas.fleet.history import DAY

HISTORY_DAYS: Final = 7
MACHINES_MAX: Final = 500
ALERTS_MAX: Final = 200
_FROM_STATE: Final = ("above", "below", "no-data", "clock", "away")
_STATE: Final = ("presence", "verified", "reason", "interval_seconds", "extra", "clock_offset_milliseconds", *VITALS)


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

    `replaced`: number of selected machines on which the more specific rules `replaced_by` apply instead.
    `has_history`: whether the history contains the signal of this kind of rule. `complete`: no bound was reached.
    """

    selected: int
    now: tuple[tuple[str, str], ...]
    alerts: tuple[PreviewAlert, ...]
    has_history: bool
    complete: bool
    replaced: int = 0
    replaced_by: tuple[str, ...] = ()

    @property
    def applying(self) -> int:
        """Number of machines to which the rule applies."""
        return self.selected - self.replaced


def preview_rule(engine: Engine, org_name: str, rule: AlertRule, *, now: int) -> Preview:
    """Return the preview of a rule that may not exist yet."""
    chosen = select_by_rule(engine, org_name, rule)
    selected, replaced_by = without_replaced(engine, org_name, rule, chosen)
    condition = resolve(rule, read_settings(engine, org_name)[0].thresholds)
    found = past_signals.read_signals(
        engine, org_name, condition, selected[:MACHINES_MAX], now - HISTORY_DAYS * DAY, now
    )
    alerts, latest = list[PreviewAlert](), dict[int, MeasuredValue]()
    for row in selected[:MACHINES_MAX]:
        spans, latest[row.id] = _evaluate(condition, found.points.get(row.id, ()), found.hold, now)
        alerts += [
            PreviewAlert(row.name, span.started_at, span.ended_at, describe_value(rule, span.value, span.device))
            for span in spans
            if rule.kind in past_signals.WITH_HISTORY
        ]
    matching = []
    for row in selected:
        from_state = rule.kind in _FROM_STATE and not rule.device
        current = MeasuredValue(_value_now(rule, row)) if from_state else latest.get(row.id, MeasuredValue(None))
        if condition.verdict(current.value, active=False):
            matching.append((row.name, describe_value(rule, *current)))
    alerts.sort(key=lambda alert: -alert.started_at)
    complete = found.complete and len(selected) <= MACHINES_MAX and len(alerts) <= ALERTS_MAX
    has_history = rule.kind in past_signals.WITH_HISTORY
    return Preview(
        len(chosen),
        tuple(matching),
        tuple(alerts[:ALERTS_MAX]),
        has_history,
        complete,
        replaced=len(chosen) - len(selected),
        replaced_by=replaced_by,
    )


def select_by_rule(engine: Engine, org_name: str, rule: AlertRule) -> list[Row[Any]]:
    """Return the machines that a rule selects, with their states, without those that are retired."""
    names = (machine.c.id, machine.c.name, machine.c.os, machine.c.agent_version, machine.c.labels)
    query = select_machines(org_name, *names, *(state.c[name] for name in _STATE)).where(PRESENCE_NOW != RETIRED)
    rows = fetch_all(engine, query.order_by(machine.c.name))
    return [row for row in rows if rule.selector.selects(row.name, read_traits(row))]


def without_replaced(
    engine: Engine, org_name: str, rule: AlertRule, selected: Sequence[Row[Any]]
) -> tuple[list[Row[Any]], tuple[str, ...]]:
    """Return the machines to which the rule applies, and the names of the rules that apply to the others."""
    previewed = rule.model_copy(update={"enabled": True})
    others = [each.rule for each in list_rules(engine, org_name) if each.rule.name != rule.name]
    family = [previewed, *(other for other in others if other.family == rule.family)]
    applying, names = list[Row[Any]](), set[str]()
    for row in selected:
        replaced_by = explain_rules(family, row.name, read_traits(row))[0].replaced_by
        names.update(replaced_by)
        if not replaced_by:
            applying.append(row)
    return applying, tuple(sorted(names))


def _value_now(rule: AlertRule, row: Row[Any]) -> float | None:
    """Return the current value of a machine, from its state."""
    if rule.kind == "away":
        return past_signals.away_value(row.presence or "", row.reason or "")
    if row.presence != "online" or not row.verified:
        return None
    vitals = Vitals.model_construct(**{name: getattr(row, name) for name in VITALS})
    point = SamplePoint(0, vitals, row.extra or {}, row.clock_offset_milliseconds or 0)
    return read_value(rule, point, EarlierSamples(), 0)


def _evaluate(
    condition: Condition, points: Sequence[tuple[Any, ...]], hold: int | None, now: int
) -> tuple[list[AlertSpan], MeasuredValue]:
    """Return the alerts that these values give, and the value that counts now."""
    timeline, spans = Timeline(condition, hold), list[AlertSpan]()
    for at, *value in points:  # and the device, of a rule about devices
        if at <= now:
            collect(spans, timeline.add(at, *value))
    decision = timeline.advance(now)
    collect(spans, [decision] if decision else [])
    is_known = now <= timeline.known_until
    return spans, MeasuredValue(timeline.value, timeline.device) if is_known else MeasuredValue(None)
