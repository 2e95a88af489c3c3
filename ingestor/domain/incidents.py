"""What concerns more than one machine: the ingestor's own blindness, a mass silence, and an identity that two share.

Invariants:
- Many machines that go quiet together are one incident; it is over when at most half of them are still quiet.
- The stream of an outbox, once another has taken its place, never speaks live again: a reboot or a lost disk begins a
  new one. So when it does, two copies of one identity run.
- What is open is in the database: it is taken up again after a restart, and closed by whoever sees its end.
"""

import math
from collections.abc import Callable, Iterable
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
_QUIET = frozenset(("silent", "lost"))


class Kind(StrEnum):
    """What happened."""

    BLIND = "blind"
    MASS_SILENCE = "mass-silence"
    CLONED_IDENTITY = "cloned-identity"
    NOISY = "noisy"


@dataclass(slots=True, eq=False)
class Incident:
    """Something to tell a person once. `org` is empty when it concerns the whole system; `id` is None until stored."""

    kind: Kind
    org: str
    started_at: int
    details: dict[str, Any]
    ended_at: int | None = None
    id: int | None = None


@dataclass(slots=True)
class Identity:
    """Which outbox speaks for a machine."""

    session: int = 0
    stream: str = ""
    replaced: str = ""
    """The stream before this one."""
    _before: set[str] = field(default_factory=set)

    def returns(self, session: int, stream: str) -> bool:
        """A live message came over this connection from this outbox: whether it had been replaced by another before."""
        if session < self.session:
            return False
        self.session = session
        if stream == self.stream:
            return False
        self._before.add(self.stream)
        self.replaced, self.stream = self.stream, stream
        return stream in self._before


def is_mass(quiet: int, machines: int) -> bool:
    """Whether so many of an organisation's machines going quiet within the window have one cause."""
    return quiet >= max(MASS_MACHINES_MIN, MASS_SHARE * machines)


def went_quiet(before: PresenceState, after: PresenceState) -> bool:
    """Whether a machine stopped to be heard without having said goodbye."""
    return before.presence in PRESENT and after.presence is not Presence.ONLINE and after.reason in _QUIET


class Incidents:
    """What is open, and what may become an incident. `changed` gives out what has to be stored."""

    def __init__(
        self,
        already_open: Iterable[Incident] = (),
        already_quiet: Iterable[tuple[str, str, PresenceState]] = (),
        *,
        now: int = 0,
    ) -> None:
        """`already_quiet`: organisation, machine and state; they count for what is open, and for nothing new."""
        self._open = {_key(incident): incident for incident in already_open}
        self._quiet: dict[str, dict[str, int]] = {}
        for org, machine, state in already_quiet:
            if state.presence is not Presence.ONLINE and state.reason in _QUIET:
                self._quiet.setdefault(org, {})[machine] = state.since_at
        self._settled_at = dict.fromkeys(self._quiet, now)
        self._seen_at = dict.fromkeys(self._open, now)
        self._changed: dict[int, Incident] = {}

    def changed(self) -> list[Incident]:
        """The incidents that began, changed or ended since the last call."""
        found, self._changed = list(self._changed.values()), {}
        return found

    def go_blind(self, reason: str, now: int) -> None:
        """The ingestor has lost the broker."""
        self._begin(Incident(Kind.BLIND, "", now, {"reason": reason[:200]}))

    def hear_again(self, now: int) -> None:
        """The ingestor has the broker."""
        self._end((Kind.BLIND, "", ""), now)

    def identity_shared(self, org: str, machine: str, streams: Iterable[str], now: int) -> None:
        """An outbox that had been replaced spoke again for this machine."""
        incident = Incident(Kind.CLONED_IDENTITY, org, now, {"machine": machine, "streams": sorted(streams)})
        self._seen_at[_key(incident)] = now
        self._begin(incident)

    def noise(self, org: str, name: str, dropped: int, now: int) -> None:
        """So many messages of a client, or with an empty name of the whole organisation, were over its limit."""
        incident = Incident(Kind.NOISY, org, now, {"machine": name, "dropped": 0})
        incident = self._open.get(_key(incident), incident)
        incident.details = {**incident.details, "dropped": incident.details["dropped"] + dropped}
        self._seen_at[_key(incident)] = now
        self._begin(incident)
        self._changed[id(incident)] = incident

    def presence_changed(self, org: str, machine: str, before: PresenceState, after: PresenceState, now: int) -> None:
        """A machine came or went."""
        quiet = self._quiet.setdefault(org, {})
        if went_quiet(before, after):
            quiet.setdefault(machine, now)
        elif after.presence in (Presence.ONLINE, Presence.RETIRED):
            quiet.pop(machine, None)

    def is_mass_silence(self, org: str) -> bool:
        """Whether many machines of an organisation went quiet together, and are not back."""
        return (Kind.MASS_SILENCE, org, "") in self._open

    def tick(self, machines_of: Callable[[str], int], now: int) -> None:
        """Look at what has changed since the last time. `machines_of` counts the machines of an organisation."""
        for org, quiet in self._quiet.items():
            self._judge(org, quiet, machines_of, now)
        for key, seen_at in list(self._seen_at.items()):
            if now - seen_at > _QUIET_SECONDS.get(key[0], math.inf) * 1000:
                self._end(key, now)

    def _judge(self, org: str, quiet: dict[str, int], machines_of: Callable[[str], int], now: int) -> None:
        begin = max(now - MASS_WINDOW_SECONDS * 1000, self._settled_at.get(org, 0))
        recent = {name: at for name, at in quiet.items() if at > begin}
        found = self._open.get((Kind.MASS_SILENCE, org, ""))
        if found is None and len(recent) >= MASS_MACHINES_MIN and is_mass(len(recent), machines_of(org)):
            names = sorted(recent)
            details = {"machines": len(names), "of": machines_of(org), "names": names[:NAMES_MAX]}
            self._begin(Incident(Kind.MASS_SILENCE, org, min(recent.values()), details))
        elif found is not None:
            self._follow(found, quiet, recent, now)

    def _follow(self, incident: Incident, quiet: dict[str, int], recent: dict[str, int], now: int) -> None:
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
"""After which what was seen last so long ago is over."""


def _key(incident: Incident) -> tuple[Kind, str, str]:
    return incident.kind, incident.org, str(incident.details.get("machine", ""))
