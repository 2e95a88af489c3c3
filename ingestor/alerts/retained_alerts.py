"""The alerts and incidents that the broker retains, so that a reader that was away learns what happened meanwhile.

Invariants:
- A message is published only after the COMMIT of what it says.
- The broker's retained alerts and incidents are those of the database: all are published again on every connection, and
  those that are over are cleared again after a start, since a process may have died in between.
- An end stays retained for KEPT_SECONDS after it became known, as the last of its machine and rule. All ends are
  published, also when several of one rule become known at once.
- An ingestor publishes those of the organisations that it owns. An incident of the whole system belongs to none.
"""

from collections.abc import Collection, Iterable

from broker.client.transport import Message
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.alert import Alert, AlertKey
from ingestor.domain.batch import Batch
from ingestor.domain.incidents import Incident
from ingestor.domain.machine import Description
from ingestor.intake.machine_cache import MachineCache
from ingestor.outbound.messages import (
    alert_message,
    cleared_alert,
    cleared_incident,
    cleared_resolved,
    incident_message,
    resolved_message,
)
from ingestor.outbound.queue import OutboundQueue
from runtime.clock import Clock

KEPT_SECONDS = 3600
_EXPIRE_SECONDS = 30


class RetainedAlerts:
    """Publishes alerts and incidents through `outbound`, with the descriptions of the cached machines."""

    def __init__(self, outbound: OutboundQueue, cache: MachineCache, assignment: WorkAssignment, clock: Clock) -> None:
        self._outbound = outbound
        self._cache = cache
        self._owns = assignment.owns
        self._clock = clock
        self._open: dict[AlertKey, Alert] = {}
        self._ended: dict[AlertKey, tuple[int, Alert]] = {}
        """The last alert of each rule that ended, with the time at which that became known."""
        self._incidents: dict[int, Incident] = {}
        self._published: dict[int, Message] = {}
        """The last message of each incident, so that a change that no reader sees is not published."""
        self._expire_at = 0

    @property
    def active(self) -> Collection[Alert]:
        """The active alerts, as published."""
        return self._open.values()

    def load(self, open_: Iterable[Alert], ended: Iterable[Alert], incidents: Iterable[Incident]) -> None:
        """Replace everything by what the database has; clear what it does not have any more."""
        self._outbound.clear_alerts()
        before, kept_from = list(self._open.values()), self._clock.now() - KEPT_SECONDS * 1000
        self._open = {alert.key: alert for alert in open_ if self._owns(alert.org)}
        self._ended.clear()
        mine = sorted((alert for alert in ended if self._owns(alert.org)), key=_closed_at)
        for alert in mine:
            self._ended.pop(alert.key, None)
            self._ended[alert.key] = (_closed_at(alert), alert)
        over = {alert.key: alert for alert in (*before, *mine) if alert.key not in self._open and self._owns(alert.org)}
        self._outbound.retain_alerts(map(cleared_alert, over.values()))
        self._load_incidents(incidents)
        self._expire(kept_from)
        self.publish_all()

    def _load_incidents(self, incidents: Iterable[Incident]) -> None:
        self._published.clear()
        self._incidents = {each.id: each for each in incidents if each.id and each.org and self._owns(each.org)}

    def publish_all(self) -> None:
        """Publish everything that is retained: the broker may have lost it."""
        self._published.clear()
        self._outbound.retain_alerts(self._resolved(alert) for _, alert in self._ended.values())
        self._outbound.retain_alerts(self._active(alert) for alert in self._open.values())
        for incident in self._incidents.values():
            self._publish_incident(incident)

    def committed(self, batch: Batch) -> None:
        """Publish the changes of a batch after its COMMIT."""
        for alert in batch.alerts:
            self._publish_alert(alert)
        for incident in batch.incidents:
            if incident.org and incident.id is not None:
                self._incidents[incident.id] = incident
                self._publish_incident(incident)

    def expire(self) -> None:
        """Clear what has been over for KEPT_SECONDS; call it often, it acts every half minute."""
        now = self._clock.now()
        if now >= self._expire_at:
            self._expire_at = now + _EXPIRE_SECONDS * 1000
            self._expire(now - KEPT_SECONDS * 1000)

    def _expire(self, kept_from: int) -> None:
        over = [alert for known_at, alert in self._ended.values() if known_at < kept_from]
        for alert in over:
            del self._ended[alert.key]
        self._outbound.retain_alerts(map(cleared_resolved, over))
        ended = [each for each in self._incidents.values() if each.ended_at is not None and each.ended_at < kept_from]
        for incident in ended:
            self._incidents.pop(incident.id or 0)
            self._published.pop(incident.id or 0, None)
        self._outbound.retain_alerts(map(cleared_incident, ended))

    def _publish_alert(self, alert: Alert) -> None:
        if alert.ended_at is None:
            known = self._ended.get(alert.key)
            if known is not None and known[1].id == alert.id:  # late data show that it has not ended
                del self._ended[alert.key]
                self._outbound.retain_alerts([cleared_resolved(alert)])
            self._open[alert.key] = alert
            self._outbound.retain_alerts([self._active(alert)])
            return
        active = self._open.get(alert.key)
        if active is not None and active.id == alert.id:  # else it lies in the past, and another one may be active
            del self._open[alert.key]
            self._outbound.retain_alerts([cleared_alert(alert)])
        self._ended.pop(alert.key, None)
        self._ended[alert.key] = (_closed_at(alert), alert)
        self._outbound.publish_ended(alert.id, self._resolved(alert))

    def _publish_incident(self, incident: Incident) -> None:
        labels = {each.name: each.description.labels for each in self._cache.machines if each.org == incident.org}
        message = incident_message(incident, labels)
        if self._published.get(incident.id or 0) != message:
            self._published[incident.id or 0] = message
            self._outbound.retain_alerts([message])

    def _active(self, alert: Alert) -> Message:
        return alert_message(alert, self._describe(alert))

    def _resolved(self, alert: Alert) -> Message:
        return resolved_message(alert, self._describe(alert))

    def _describe(self, alert: Alert) -> Description:
        machine = self._cache.get(alert.org, alert.name)
        return Description() if machine is None else machine.description


def _closed_at(alert: Alert) -> int:
    return alert.closed_at or alert.ended_at or 0
