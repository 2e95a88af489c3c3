"""The open alerts, and their changes that are to be stored."""

from collections.abc import Iterable

from ingestor.domain.alert import Alert
from ingestor.domain.machine import Machine
from runtime.clock import Clock
from schemas.alerts.condition import DETAIL_MAX, Condition, describe_value, unit_of
from schemas.alerts.replay import pair
from schemas.alerts.timeline import AlertSpan, Decision
from schemas.contract.text import clean_line


class OpenAlerts:
    """The open alerts of the machines whose rules are evaluated here, by machine id and rule."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[int, dict[str, Alert]] = {}
        self._changed: dict[int, Alert] = {}

    def load(self, alerts: Iterable[Alert]) -> None:
        """Replace them by those of the database."""
        self._open, self._changed = {}, {}
        for alert in alerts:
            self._open.setdefault(alert.machine, {})[alert.rule] = alert

    @property
    def machines(self) -> set[int]:
        """Ids of the machines with open alerts."""
        return set(self._open)

    def of(self, machine: int) -> list[Alert]:
        """Return a machine's open alerts."""
        mine = self._open.get(machine)
        return [] if mine is None else list(mine.values())

    def get(self, machine: int, rule: str) -> Alert | None:
        """Return the open alert of a machine and a rule."""
        return self._open.get(machine, {}).get(rule)

    def changed(self) -> list[Alert]:
        """Return the alerts that changed since the last call, in the order in which they did."""
        found, self._changed = list(self._changed.values()), {}
        return found

    def decide(self, machine: Machine, condition: Condition, decision: Decision, detail: str = "") -> None:
        """Open or end an alert. `detail`: text in place of the value."""
        name = condition.rule.name
        if decision.begins:
            self._begin(machine, condition, AlertSpan(decision.at, None, decision.value, decision.device), detail)
        elif (alert := self.get(machine.id, name)) is not None:
            self.end(alert, max(decision.at, alert.started_at))

    def end(self, alert: Alert, at: int) -> None:
        """End an open alert."""
        alert.ended_at, alert.closed_at = at, self._clock.now()
        self._forget(alert)
        self._changed[id(alert)] = alert

    def withdraw(self, alert: Alert, at: int) -> None:
        """End an open alert whose rule no longer applies, or whose machine was retired."""
        alert.withdrawn = True
        self.end(alert, at)

    def correct(self, machine: Machine, condition: Condition, recorded: list[Alert], spans: list[AlertSpan]) -> None:
        """Make the recorded alerts of a rule the evaluated ones; unchanged ones stay."""
        current = self.get(machine.id, condition.rule.name)
        recorded = [current if current is not None and each.id == current.id else each for each in recorded]
        for record, span in pair(recorded, spans):
            if record is None and span is not None:
                self._begin(machine, condition, span, "")
            elif record is not None and span is None:
                record.retracted = True
                self.end(record, record.started_at)
            elif record is not None and span is not None and _times(record) != _times(span):
                self._adjust(record, condition, span)

    def _adjust(self, alert: Alert, condition: Condition, span: AlertSpan) -> None:
        alert.started_at, alert.ended_at = span.started_at, span.ended_at
        if span.value is not None and (span.device or not condition.rule.device):
            described = describe_value(condition.rule, span.value, span.device)
            alert.value, alert.detail = span.value, clean_line(described)[:DETAIL_MAX]
        self._changed[id(alert)] = alert
        if span.ended_at is None:
            alert.closed_at = None
            self._open.setdefault(alert.machine, {})[alert.rule] = alert
        else:
            alert.closed_at = alert.closed_at or self._clock.now()
            self._forget(alert)

    def _begin(self, machine: Machine, condition: Condition, span: AlertSpan, detail: str) -> None:
        rule = condition.rule
        text = clean_line(detail or describe_value(rule, span.value, span.device))[:DETAIL_MAX]
        who, what = (machine.id, machine.org, machine.name), (rule.name, rule.title, rule.severity)
        alert = Alert(*who, *what, span.started_at, text, span.ended_at)
        if not detail:
            alert.value, alert.unit = span.value, unit_of(rule)
        self._changed[id(alert)] = alert
        if span.ended_at is None:
            self._open.setdefault(machine.id, {})[rule.name] = alert
        else:
            alert.past, alert.closed_at = True, self._clock.now()

    def _forget(self, alert: Alert) -> None:
        mine = self._open.get(alert.machine, {})
        if mine.get(alert.rule) is alert:
            del mine[alert.rule]
            if not mine:
                del self._open[alert.machine]


def _times(alert: Alert | AlertSpan) -> tuple[int, int | None]:
    return alert.started_at, alert.ended_at
