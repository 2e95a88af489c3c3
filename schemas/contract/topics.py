"""The topic tree of the contract, version 1. No other file contains a topic's levels.

    dashfleet/v1/{org}/{machine}/{up|down}/{leaf}
    dashfleet/replay/{replay}/{org}/{machine}/{up}/{leaf}

Invariants:
- Every topic of a machine has six levels, so that filters with `+` are simple; facts have a seventh, their kind.
- A replay has topics of its own below another root, and none on which anything is ordered: no part of DashFleet reads
  them, so that the past cannot be mistaken for the present.
- An id never starts with `_`; levels that do are reserved.
- Access to topics is decided elsewhere, in `broker.access.policy`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

ROOT = "dashfleet/v1"
REPLAY_ROOT = "dashfleet/replay"
ORG_MAX_LENGTH = 32
MACHINE_MAX_LENGTH = 63
LENGTH_MAX = 256
"""Upper bound of the length of a topic of the contract; any longer topic is not one."""

ID_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"

_ID = re.compile(ID_PATTERN)
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """A kind of topic: its pattern below its root, and the QoS (0 or 1) and retain flag of its messages.

    Each exists once, so they are compared by identity, which is faster.
    """

    pattern: str
    qos: int
    retain: bool
    root: str = ROOT

    @property
    def template(self) -> str:
        """The full topic with the names of its levels in braces."""
        return f"{self.root}/{self.pattern}"

    def at(self, **levels: str) -> str:
        """Return the full topic with these levels. Raises KeyError if one is missing."""
        return f"{self.root}/{self.pattern.format(**levels)}"

    def filter(self, **levels: str) -> str:
        """Return the full topic filter, with `+` for each level that is not given."""
        return f"{self.root}/{_FIELD.sub(lambda field: levels.get(field[1], '+'), self.pattern)}"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed topic. A level that the topic does not have is an empty string."""

    topic: Topic
    org: str = ""
    machine: str = ""
    principal: str = ""
    rule: str = ""
    incident: str = ""
    way: str = ""
    kind: str = ""
    replay: str = ""


STATUS = Topic("{org}/{machine}/up/status", qos=1, retain=True)
INFO = Topic("{org}/{machine}/up/info", qos=1, retain=True)
TELEMETRY = Topic("{org}/{machine}/up/telemetry", qos=1, retain=False)
BACKFILL = Topic("{org}/{machine}/up/backfill", qos=1, retain=False)
FACTS = Topic("{org}/{machine}/up/facts/{kind}", qos=1, retain=True)
RESULT = Topic("{org}/{machine}/up/result", qos=1, retain=False)
LIVE = Topic("{org}/{machine}/up/live", qos=0, retain=False)
COMMAND = Topic("{org}/{machine}/down/command", qos=1, retain=False)
ACK = Topic("{org}/{machine}/down/ack", qos=0, retain=False)
CONFIG = Topic("{org}/{machine}/down/config", qos=1, retain=True)
WATCH = Topic("{org}/{machine}/down/watch", qos=0, retain=True)
FETCH = Topic("{org}/{machine}/up/fetch", qos=1, retain=False)
CHUNK = Topic("{org}/{machine}/down/chunk", qos=0, retain=False)
UPLOAD = Topic("{org}/{machine}/up/upload", qos=1, retain=False)
RECEIPT = Topic("{org}/{machine}/down/receipt", qos=0, retain=False)
REQUEST = Topic("{org}/_actions/{principal}/request", qos=1, retain=False)
UPDATE = Topic("{org}/_actions/{principal}/update", qos=1, retain=False)
PRESENCE = Topic("{org}/_presence/{machine}", qos=1, retain=True)
ALERT = Topic("{org}/_alerts/{machine}/{rule}", qos=1, retain=True)
RESOLVED = Topic("{org}/_resolved/{machine}/{rule}", qos=1, retain=True)
INCIDENT = Topic("{org}/_incidents/{incident}", qos=1, retain=True)
ORG_CONFIG = Topic("{org}/_config", qos=1, retain=True)
ENROL_REQUEST = Topic("{org}/_enrol/{principal}/request", qos=1, retain=False)
ENROL_ANSWER = Topic("{org}/_enrol/{principal}/answer", qos=1, retain=False)
LIVE_REQUEST = Topic("{org}/_live/{principal}/request", qos=0, retain=False)
LIVE_ANSWER = Topic("{org}/_live/{principal}/answer", qos=0, retain=False)
PROBE = Topic("_ingestors/{principal}/probe/{way}", qos=1, retain=False)
REPLAYED_INFO = Topic("{replay}/{org}/{machine}/up/info", qos=1, retain=False, root=REPLAY_ROOT)
REPLAYED_TELEMETRY = Topic("{replay}/{org}/{machine}/up/telemetry", qos=1, retain=False, root=REPLAY_ROOT)
REPLAYED_PRESENCE = Topic("{replay}/{org}/_presence/{machine}", qos=1, retain=False, root=REPLAY_ROOT)
REPLAYED_ALERT = Topic("{replay}/{org}/_alerts/{machine}/{rule}", qos=1, retain=False, root=REPLAY_ROOT)
REPLAYED_RESOLVED = Topic("{replay}/{org}/_resolved/{machine}/{rule}", qos=1, retain=False, root=REPLAY_ROOT)

ALL: tuple[Topic, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Topic))
"""Every topic above, in this order."""


def is_id(text: str, max_length: int = MACHINE_MAX_LENGTH) -> bool:
    """Return whether the text is an id: lower-case letters, digits and inner hyphens, 1 to `max_length` characters."""
    return len(text) <= max_length and _ID.fullmatch(text) is not None


def slug(text: str, max_length: int = MACHINE_MAX_LENGTH) -> str:
    """Return the id closest to a text, such as a hostname, or `machine` if the text has no usable character."""
    joined = re.sub(r"[^a-z0-9]+", "-", text.lower())[:max_length].strip("-")
    return joined or "machine"


@lru_cache(maxsize=1 << 16)
def parse(topic: str) -> Address | None:
    """Return the address of a full topic, or None if it is not a topic of the contract."""
    for known, pattern in _PARSERS:
        match = pattern.fullmatch(topic)
        if match:
            levels = match.groupdict()
            ids = {name: level.removeprefix("_") for name, level in levels.items()}
            if all(is_id(id_) for id_ in ids.values()) and len(ids.get("org", "")) <= ORG_MAX_LENGTH:
                return Address(known, **levels)
    return None


def _parser(topic: Topic) -> re.Pattern[str]:
    """Compile a pattern with named groups. Only a principal's level may start with `_` (see `broker.access.policy`)."""
    levels = _FIELD.sub(
        lambda field: f"(?P<{field[1]}>{'_?' if field[1] == 'principal' else ''}[a-z0-9-]+)", topic.pattern
    )
    return re.compile(f"{topic.root}/{levels}")


_PARSERS = tuple((topic, _parser(topic)) for topic in ALL)
