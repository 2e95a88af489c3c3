"""Access policy: one pure function decides which principal may publish, subscribe to or receive which topic.

The embedded broker calls it for each message; the configuration of other brokers is derived from the same grants.

Invariants:
- Everything that no grant allows is denied.
- A subscription is allowed only if every topic that its filter can match is granted. Filters are compared level by
  level, never as text.
- Topics of replays are published by REPLAY alone and read by readers and operators alone: nothing that acts reads them.
- Only the credential decides what a principal is, never a name. `client_id = username` everywhere: `{org}.{machine}`
  for a machine, `{org}._{name}` for another principal of an organisation, `_{name}` for a process of the server. Many
  machines may use one token at once, so its client ids have a suffix: `{org}._{name}.{nonce}`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from schemas.contract import topics


class Role(StrEnum):
    """Role of a principal."""

    MACHINE = "machine"
    READER = "reader"
    OPERATOR = "operator"
    REPLAY = "replay"
    """A program that publishes stored history below `dashfleet/replay/`: it reads nothing, and nobody acts on it."""
    DASHBOARD = "dashboard"
    INGESTOR = "ingestor"
    NOTIFIER = "notifier"
    """The process that sends messages about alerts: it reads those of all organisations, and publishes nothing."""
    ENROL = "enrol"
    """An enrolment token: it may request a credential for a machine, and nothing else."""


class Verb(StrEnum):
    """Kind of access. The topic is a filter for SUBSCRIBE."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"


@dataclass(frozen=True, slots=True)
class Principal:
    """Holder of a credential. `org` is empty for processes of the server; `name` is the machine id of a machine."""

    role: Role
    org: str
    name: str

    @property
    def username(self) -> str:
        """The MQTT user name, and the only client id this principal may use."""
        if self.role is Role.MACHINE:
            return f"{self.org}.{self.name}"
        return f"{self.org}._{self.name}" if self.org else f"_{self.name}"

    def may_be_called(self, client_id: str) -> bool:
        """Return True if this principal may connect with this client id."""
        if self.role is Role.ENROL:
            start, _, nonce = client_id.rpartition(".")
            return start == self.username and _NONCE.fullmatch(nonce) is not None
        return client_id == self.username

    @property
    def level(self) -> str:
        """The principal's level in topics of requests and updates; it starts with `_` for processes of the server."""
        return self.name if self.org else f"_{self.name}"


NOTIFIER = Principal(Role.NOTIFIER, "", "notifier")
"""The process that sends messages about alerts."""


@dataclass(frozen=True, slots=True)
class Grants:
    """Topic filters that a principal may publish to and read."""

    publish: tuple[str, ...]
    read: tuple[str, ...]


def grants(principal: Principal) -> Grants:
    """Return the filters that a principal's role grants."""
    org, own = principal.org, {"org": principal.org, "machine": principal.name}
    match principal.role:
        case Role.MACHINE:
            read = (topics.COMMAND, topics.ACK, topics.CONFIG, *_FILES_DOWN, topics.WATCH, topics.STATUS)
            return Grants(
                publish=tuple(topic.filter(**own) for topic in (*_UPWARD, topics.LIVE, *_FILES_UP)),
                read=(*(topic.at(**own) for topic in read), topics.ORG_CONFIG.at(org=org)),
            )
        case Role.READER:
            mine = {"org": org, "principal": principal.level}
            return Grants(
                publish=(topics.LIVE_REQUEST.at(**mine),), read=(*_readable(org), topics.LIVE_ANSWER.at(**mine))
            )
        case Role.OPERATOR:
            mine = {"org": org, "principal": principal.level}
            return Grants(
                publish=(topics.REQUEST.at(**mine), topics.LIVE_REQUEST.at(**mine)),
                read=(*_readable(org), topics.UPDATE.at(**mine), topics.LIVE_ANSWER.at(**mine)),
            )
        case Role.REPLAY:
            return Grants(publish=tuple(topic.filter(org=org) for topic in _REPLAYED), read=())
        case Role.DASHBOARD:
            requests, answers = (topics.REQUEST, topics.LIVE_REQUEST), (topics.UPDATE, topics.LIVE_ANSWER)
            return Grants(
                publish=tuple(topic.filter(principal=principal.level) for topic in requests),
                read=(*(topic.filter(principal=principal.level) for topic in answers), topics.LIVE.filter()),
            )
        case Role.ENROL:
            mine = {"org": org, "principal": principal.level}
            return Grants(publish=(topics.ENROL_REQUEST.at(**mine),), read=(topics.ENROL_ANSWER.at(**mine),))
        case Role.NOTIFIER:
            return Grants(publish=(), read=tuple(topic.filter() for topic in (*_REPORTED, topics.ORG_CONFIG)))
        case Role.INGESTOR:
            probe = topics.PROBE.filter(principal=principal.name)  # of version 0.1, to test shared subscriptions
            return Grants(
                publish=(*(topic.filter() for topic in (*_FROM_THE_INGESTOR, *_CLEARED_BY_THE_INGESTOR)), probe),
                read=(*(topic.filter() for topic in _TO_THE_INGESTOR), probe),
            )


def allowed(principal: Principal, verb: Verb, topic: str) -> bool:
    """Return True if `principal` may do `verb` on `topic`, a filter for SUBSCRIBE. Never raises."""
    mine = grants(principal)
    if verb is Verb.SUBSCRIBE:
        return any(covers(granted, topic) for granted in mine.read)
    if "+" in topic or "#" in topic:
        return False
    return any(covers(granted, topic) for granted in (mine.publish if verb is Verb.PUBLISH else mine.read))


def may_administer(level: str) -> bool:
    """Return True if requests published at this level may change an organisation.

    Only processes of the server may, of which grants let only the dashboard publish requests.
    """
    return level.startswith("_")


def covers(granted: str, wanted: str) -> bool:
    """Return True if the filter `granted` matches every topic that the filter (or topic) `wanted` matches.

    Grants use literal levels and `+` only, which matches one non-reserved level. A malformed filter is not covered.
    """
    mine, theirs = granted.split("/"), wanted.split("/")
    return len(mine) == len(theirs) and all(
        own == other or (own == "+" and _is_open(other)) for own, other in zip(mine, theirs, strict=True)
    )


def _is_open(level: str) -> bool:
    """Return True if a grant's `+` covers this level: a name that is not reserved, or `+` itself."""
    return level == "+" or not ("+" in level or "#" in level or level in _RESERVED)


_NONCE = re.compile(r"[0-9a-f]{32}")
_UPWARD = (topics.STATUS, topics.INFO, topics.FACTS, topics.TELEMETRY, topics.BACKFILL, topics.RESULT)
"""Topics on which a machine reports. `LIVE` is not one of them: only those who look read it; nor are those of files."""

_FILES_UP, _FILES_DOWN = (topics.FETCH, topics.UPLOAD), (topics.CHUNK, topics.RECEIPT)

_TO_THE_INGESTOR = (*_UPWARD, *_FILES_UP, topics.REQUEST, topics.ENROL_REQUEST, topics.LIVE_REQUEST, topics.WATCH)
"""Of its own leases the ingestor reads those that are retained, to clear what it does not know."""

_FROM_THE_INGESTOR = (
    topics.COMMAND,
    topics.ACK,
    topics.CONFIG,
    *_FILES_DOWN,
    topics.UPDATE,
    topics.PRESENCE,
    topics.ALERT,
    topics.RESOLVED,
    topics.INCIDENT,
    topics.ORG_CONFIG,
    topics.ENROL_ANSWER,
    topics.LIVE_ANSWER,
    topics.WATCH,
)
_REPORTED = (topics.ALERT, topics.RESOLVED, topics.INCIDENT)
"""Alerts and incidents, which readers, operators and the notifier may read."""

_REPLAYED = (
    topics.REPLAYED_INFO,
    topics.REPLAYED_TELEMETRY,
    topics.REPLAYED_PRESENCE,
    topics.REPLAYED_ALERT,
    topics.REPLAYED_RESOLVED,
)

_CLEARED_BY_THE_INGESTOR = (*_UPWARD, topics.LIVE, *_FILES_UP)
"""Topics of machines that may be retained, rightly or not. Requests are not included: some change organisations."""

_RESERVED = frozenset(level for topic in topics.ALL for level in topic.pattern.split("/") if level.startswith("_"))


def _readable(org: str) -> tuple[str, ...]:
    return (
        *(topic.filter(org=org) for topic in (*_UPWARD, topics.LIVE, topics.PRESENCE, *_REPORTED, *_REPLAYED)),
        topics.ORG_CONFIG.at(org=org),
    )
