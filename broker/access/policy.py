"""Who may do what: one pure function over a table of roles.

The embedded broker asks it live; configurations for other brokers are derived from the same grants.

Invariants:
- What no grant allows is denied.
- A subscription is allowed only when every topic its filter could match is granted: filters are compared level by
  level, never as text.
- Names decide nothing: a principal is what its credential proved it to be. `client_id = username` everywhere:
  `{org}.{machine}` for a machine, `{org}._{name}` for another principal of an organisation, `_{name}` for the system's.
  Many machines may use one token at once, so its client ids go on behind the user name: `{org}._{name}.{nonce}`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from schemas.contract import topics


class Role(StrEnum):
    """What a principal is there for."""

    MACHINE = "machine"
    READER = "reader"
    OPERATOR = "operator"
    DASHBOARD = "dashboard"
    INGESTOR = "ingestor"
    ENROL = "enrol"
    """A token: it may ask for a machine's place, and nothing else."""


class Verb(StrEnum):
    """What a principal wants to do. `topic` is a filter for SUBSCRIBE and a topic for the others."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with a credential. `org` is empty for the system's own; `name` is the machine id for a machine."""

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
        """Whether this principal may connect under this client id."""
        if self.role is Role.ENROL:
            start, _, nonce = client_id.rpartition(".")
            return start == self.username and _NONCE.fullmatch(nonce) is not None
        return client_id == self.username

    @property
    def level(self) -> str:
        """The principal's own level in topics of requests and updates; the system's own start with `_`."""
        return self.name if self.org else f"_{self.name}"


@dataclass(frozen=True, slots=True)
class Grants:
    """What a principal may publish and read, as topic filters."""

    publish: tuple[str, ...]
    read: tuple[str, ...]


def grants(principal: Principal) -> Grants:
    """The filters that a principal's role gives it."""
    org, own = principal.org, {"org": principal.org, "machine": principal.name}
    match principal.role:
        case Role.MACHINE:
            published = (topics.STATUS, topics.INFO, topics.TELEMETRY, topics.BACKFILL, topics.RESULT)
            read = (topics.COMMAND, topics.ACK, topics.CONFIG, topics.STATUS)
            return Grants(
                publish=tuple(topic.at(**own) for topic in published),
                read=(*(topic.at(**own) for topic in read), topics.ORG_CONFIG.at(org=org)),
            )
        case Role.READER:
            return Grants(publish=(), read=_readable(org))
        case Role.OPERATOR:
            return Grants(
                publish=(topics.REQUEST.at(org=org, principal=principal.level),),
                read=(*_readable(org), topics.UPDATE.at(org=org, principal=principal.level)),
            )
        case Role.DASHBOARD:
            return Grants(
                publish=(topics.REQUEST.filter(principal=principal.level),),
                read=(topics.UPDATE.filter(principal=principal.level),),
            )
        case Role.ENROL:
            own = {"org": org, "principal": principal.level}
            return Grants(publish=(topics.ENROL_REQUEST.at(**own),), read=(topics.ENROL_ANSWER.at(**own),))
        case Role.INGESTOR:
            retained = (topics.STATUS, topics.INFO)  # cleared when a machine is retired
            probe = topics.PROBE.filter(principal=principal.name)  # what it says to itself at its start
            return Grants(
                publish=(*(topic.filter() for topic in (*_FROM_THE_INGESTOR, *retained)), probe),
                read=(*(topic.filter() for topic in _TO_THE_INGESTOR), probe),
            )


def allowed(principal: Principal, verb: Verb, topic: str) -> bool:
    """Whether `principal` may do `verb` on `topic`, which is a filter for SUBSCRIBE. Never raises."""
    mine = grants(principal)
    if verb is Verb.SUBSCRIBE:
        return any(covers(granted, topic) for granted in mine.read)
    if "+" in topic or "#" in topic:
        return False
    return any(covers(granted, topic) for granted in (mine.publish if verb is Verb.PUBLISH else mine.read))


def may_administer(level: str) -> bool:
    """Whether who publishes at this level of the topics of requests may change an organisation.

    The system's own may, of which the dashboard is the only one that any grant lets publish there.
    """
    return level.startswith("_")


def covers(granted: str, wanted: str) -> bool:
    """Whether every topic that the filter (or topic) `wanted` matches is also matched by the filter `granted`.

    Grants use literal levels and `+` only, which matches one non-reserved level. What is no filter is not covered.
    """
    mine, theirs = granted.split("/"), wanted.split("/")
    return len(mine) == len(theirs) and all(
        own == other or (own == "+" and _is_open(other)) for own, other in zip(mine, theirs, strict=True)
    )


def _is_open(level: str) -> bool:
    """Whether a grant's `+` covers this level: a name that is not reserved, or `+` itself."""
    return level == "+" or not ("+" in level or "#" in level or level in _RESERVED)


_NONCE = re.compile(r"[0-9a-f]{32}")
_TO_THE_INGESTOR = (
    topics.STATUS,
    topics.INFO,
    topics.TELEMETRY,
    topics.BACKFILL,
    topics.RESULT,
    topics.REQUEST,
    topics.ENROL_REQUEST,
)
_FROM_THE_INGESTOR = (
    topics.COMMAND,
    topics.ACK,
    topics.CONFIG,
    topics.UPDATE,
    topics.ALERT,
    topics.ORG_CONFIG,
    topics.ENROL_ANSWER,
)
_RESERVED = frozenset(level for topic in topics.ALL for level in topic.pattern.split("/") if level.startswith("_"))


def _readable(org: str) -> tuple[str, ...]:
    upward = (topics.STATUS, topics.INFO, topics.TELEMETRY, topics.BACKFILL, topics.RESULT, topics.ALERT)
    return (*(topic.filter(org=org) for topic in upward), topics.ORG_CONFIG.at(org=org))
