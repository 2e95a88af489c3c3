"""Incidents: a blind ingestor, a mass silence, a cloned identity, a noisy client, a target that is down.

Invariants:
- Many machines that go quiet together are one incident; it ends when at most half of them are still quiet.
- A stream that was replaced by another never sends live again: a reboot or a lost disk starts a new one. If it does,
  two copies of one identity run.
- Open incidents are in the database: they are resumed after a restart, and closed by the ingestor that sees the end.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ingestor.domain.presence import PRESENT, Presence, PresenceState

MASS_WINDOW_SECONDS = 60.0
MASS_MACHINES_MIN = 3
MASS_SHARE = 0.2
CLONE_QUIET_SECONDS = 600.0
NOISE_QUIET_SECONDS = 60.0
NAMES_MAX = 100
TARGETS_MAX = 100
"""Targets of one organisation that are down at a time and have an incident."""
_QUIET = frozenset(("silent", "lost"))


class Kind(StrEnum):
    """Kind of an incident."""

    BLIND = "blind"
    MASS_SILENCE = "mass-silence"
    CLONED_IDENTITY = "cloned-identity"
    NOISY = "noisy"
    TARGET_DOWN = "target-down"


@dataclass(slots=True, eq=False)
class Incident:
    """An incident. `org` is empty if it concerns the whole system; `id` is None until it is stored."""

    kind: Kind
    org: str
    started_at: int
    details: dict[str, Any]
    ended_at: int | None = None
    id: int | None = None


@dataclass(slots=True)
class Identity:
    """The outbox that sends for a machine."""

    session: int = 0
    stream: str = ""
    replaced: str = ""
    """The previous stream."""
    _before: set[str] = field(default_factory=set)

    def returns(self, session: int, stream: str) -> bool:
        """Record the session and stream of a live message; return whether the stream had been replaced before."""
        if session < self.session:
            return False
        self.session = session
        if stream == self.stream:
            return False
        self._before.add(self.stream)
        self.replaced, self.stream = self.stream, stream
        return stream in self._before


def is_mass(quiet: int, machines: int) -> bool:
    """Return whether this many of an organisation's machines going quiet within the window is a mass silence."""
    return quiet >= max(MASS_MACHINES_MIN, MASS_SHARE * machines)


def went_quiet(before: PresenceState, after: PresenceState) -> bool:
    """Return whether a machine went silent without a graceful stop."""
    return before.presence in PRESENT and after.presence is not Presence.ONLINE and after.reason in _QUIET


def affected(incident: Incident) -> list[str]:
    """Return the names of the machines that an incident concerns, at most NAMES_MAX."""
    name = incident.details.get("machine")
    return list(incident.details.get("names", ())) or ([name] if name else [])


def common_label(names: Collection[str], labels: Mapping[str, Mapping[str, str]]) -> str:
    """Return the label (`site=nantes`) that all these machines have; of several, the one that fewest others have.

    `labels`: those of the organisation's machines, by name. Empty if no label is common to several machines.
    """
    if len(names) < 2 or not all(name in labels for name in names):
        return ""
    first, *others = (labels[name] for name in names)
    common = [item for item in first.items() if all(other.get(item[0]) == item[1] for other in others)]
    counted = [(sum(each.get(key) == value for each in labels.values()), key, value) for key, value in common]
    return "{1}={2}".format(*min(counted)) if counted else ""


class Incidents:
    """Open incidents, and the observations that may start one. `changed` returns those to be stored."""

    def __init__(
        self,
        already_open: Iterable[Incident] = (),
        already_quiet: Iterable[tuple[str, str, PresenceState]] = (),
        *,
        now: int = 0,
    ) -> None:
        """`already_quiet`: organisation, machine and state; they count for open incidents, not for new ones."""
        self._open = {_key(incident): incident for incident in already_open}
        self._quiet: dict[str, dict[str, int]] = {}
        for org, machine, state in already_quiet:
            if state.presence is not Presence.ONLINE and state.reason in _QUIET:
                self._quiet.setdefault(org, {})[machine] = state.since_at
        self._settled_at = dict.fromkeys(self._quiet, now)
        self._seen_at = dict.fromkeys(self._open, now)
        self._changed: dict[int, Incident] = {}

    def changed(self) -> list[Incident]:
        """Return the incidents that started, changed or ended since the last call."""
        found, self._changed = list(self._changed.values()), {}
        return found

    def go_blind(self, reason: str, now: int) -> None:
        """Record that the ingestor has lost the broker."""
        self._begin(Incident(Kind.BLIND, "", now, {"reason": reason[:200]}))

    def hear_again(self, now: int) -> None:
        """Record that the ingestor is connected to the broker."""
        self._end((Kind.BLIND, "", ""), now)

    def identity_shared(self, org: str, machine: str, streams: Iterable[str], now: int) -> None:
        """Record that a replaced outbox has sent for this machine again."""
        incident = Incident(Kind.CLONED_IDENTITY, org, now, {"machine": machine, "streams": sorted(streams)})
        self._seen_at[_key(incident)] = now
        self._begin(incident)

    def noise(self, org: str, name: str, dropped: int, now: int) -> None:
        """Record messages dropped above the rate limit of a client, or of the organisation if `name` is empty."""
        incident = Incident(Kind.NOISY, org, now, {"machine": name, "dropped": 0})
        incident = self._open.get(_key(incident), incident)
        incident.details = {**incident.details, "dropped": incident.details["dropped"] + dropped}
        self._seen_at[_key(incident)] = now
        self._begin(incident)
        self._changed[id(incident)] = incident

    def target_down(self, org: str, target: str, names: Sequence[str], of: int, now: int) -> None:
        """Record which of the machines that probe a target cannot reach it, so that it is down."""
        details = {"target": target, "machines": len(names), "of": of, "names": list(names[:NAMES_MAX])}
        incident = Incident(Kind.TARGET_DOWN, org, now, details)
        known = self._open.get(_key(incident))
        if known is not None and known.details != details:
            known.details = details
            self._changed[id(known)] = known
        elif known is None and sum(each == org for each, _target in self.open_targets()) < TARGETS_MAX:
            self._begin(incident)

    def target_up(self, org: str, target: str, now: int) -> None:
        """Record that a target is not down."""
        self._end((Kind.TARGET_DOWN, org, target), now)

    def open_targets(self) -> list[tuple[str, str]]:
        """Return the targets with an open incident, each with its organisation."""
        return [(org, target) for kind, org, target in self._open if kind is Kind.TARGET_DOWN]

    def presence_changed(self, org: str, machine: str, before: PresenceState, after: PresenceState, now: int) -> None:
        """Record that a machine came or went."""
        quiet = self._quiet.setdefault(org, {})
        if went_quiet(before, after):
            quiet.setdefault(machine, now)
        elif after.presence in (Presence.ONLINE, Presence.RETIRED):
            quiet.pop(machine, None)

    def is_mass_silence(self, org: str) -> bool:
        """Return whether a mass silence of this organisation is open."""
        return (Kind.MASS_SILENCE, org, "") in self._open

    def tick(self, machines_of: Callable[[str], int], now: int) -> None:
        """Start and end incidents as time passes. `machines_of` counts the machines of an organisation."""
        for org, quiet in self._quiet.items():
            self._check_mass_silence(org, quiet, machines_of, now)
        for key, seen_at in list(self._seen_at.items()):
            if now - seen_at > _QUIET_SECONDS.get(key[0], math.inf) * 1000:
                self._end(key, now)

    def _check_mass_silence(self, org: str, quiet: dict[str, int], machines_of: Callable[[str], int], now: int) -> None:
        begin = max(now - MASS_WINDOW_SECONDS * 1000, self._settled_at.get(org, 0))
        recent = {name: at for name, at in quiet.items() if at > begin}
        found = self._open.get((Kind.MASS_SILENCE, org, ""))
        if found is None and len(recent) >= MASS_MACHINES_MIN and is_mass(len(recent), machines_of(org)):
            names = sorted(recent)
            details = {"machines": len(names), "of": machines_of(org), "names": names[:NAMES_MAX]}
            self._begin(Incident(Kind.MASS_SILENCE, org, min(recent.values()), details))
        elif found is not None:
            self._update_mass_silence(found, quiet, recent, now)

    def _update_mass_silence(self, incident: Incident, quiet: dict[str, int], recent: dict[str, int], now: int) -> None:
        since = incident.started_at
        together = {name for name, at in quiet.items() if at >= since}
        if len(together) > incident.details["machines"]:
            names = sorted({*incident.details["names"], *recent})
            incident.details = {**incident.details, "machines": len(together), "names": names[:NAMES_MAX]}
            self._changed[id(incident)] = incident
        if 2 * len(together) <= incident.details["machines"]:
            self._end(_key(incident), now)
            self._settled_at[incident.org] = now

    def _begin(self, incident: Incident) -> None:
        if self._open.setdefault(_key(incident), incident) is incident:
            self._changed[id(incident)] = incident

    def _end(self, key: tuple[Kind, str, str], now: int) -> None:
        self._seen_at.pop(key, None)
        incident = self._open.pop(key, None)
        if incident is not None:
            incident.ended_at = now
            self._changed[id(incident)] = incident


_QUIET_SECONDS = {Kind.CLONED_IDENTITY: CLONE_QUIET_SECONDS, Kind.NOISY: NOISE_QUIET_SECONDS}
"""Time without a new observation after which an incident of this kind ends."""


def _key(incident: Incident) -> tuple[Kind, str, str]:
    return incident.kind, incident.org, str(incident.details.get("machine") or incident.details.get("target", ""))
