"""Presence: pure functions over (state, event, server's time). Late wills are ignored and thresholds applied here.

`connected` (the last status) and `presence` (whether the machine reports) are separate facts.

Invariants:
- Only the server's clock decides; a machine's clock appears nowhere here.
- A death counts only for the current session. Whatever carries a lower session is old news and changes nothing.
- A live message of the current session beats a will of it: a will is held for WILL_GRACE_SECONDS, within which any sign
  of life, or a new session, cancels it. Brokers send wills late, and at a take-over.
- After a graceful stop only a higher session revives: messages that were still in flight do not.
- A machine that goes on sending new samples in a session that is not current is there all the same (`on_behind`).
- While the ingestor is blind no timer runs; they restart when it hears the broker again, and a machine not heard since
  gets RECONNECT_SECONDS before it is stale: after a broker's restart agents reconnect one by one.
- Nothing rests on wills alone: silence makes `stale`, then `offline`, in any case.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil

from ingestor.domain.stale_thresholds import offline_after_seconds, stale_after_seconds
from schemas.contract.messages import Status
from schemas.contract.org_config import OrgConfig

WILL_GRACE_SECONDS = 2.0

RECONNECT_SECONDS = 60.0
"""An agent's longest wait between two attempts to connect (`broker.client.transport.Backoff`)."""


class Presence(StrEnum):
    """Whether a machine reports."""

    UNKNOWN = "unknown"
    """Never heard."""
    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"
    EXPIRED = "expired"
    """Offline for longer than the organisation's time to live."""
    RETIRED = "retired"
    """Decommissioned by an operator."""


BEHIND = "session-behind"
"""Reason of a machine that is present by its samples, with a session number that is not above its last one."""

PRESENT = frozenset((Presence.ONLINE, Presence.STALE))


@dataclass(slots=True, unsafe_hash=True)  # not frozen: one is created per message, in a third of the time
class PresenceState:
    """A machine's presence. Times are milliseconds of the server's clock. It is replaced, and never changed."""

    presence: Presence = Presence.UNKNOWN
    reason: str = ""
    since_at: int = 0
    verified: bool = True
    connected: bool = False
    session: int = 0
    interval_seconds: float = 10.0
    last_seen_at: int | None = None
    dying_at: int | None = None
    """Arrival of a will for the current session that no sign of life has cancelled yet."""


def is_online(state: PresenceState) -> bool:
    """Return whether the machine is verified online, so that commands may be sent."""
    return state.verified and state.presence is Presence.ONLINE


def on_status(state: PresenceState, status: Status, now: int, *, retained: bool) -> PresenceState:
    """Apply a birth, a graceful stop or a will. `retained`: the broker had kept it, so it may be outdated."""
    if state.presence is Presence.RETIRED or status.session < state.session:
        return state
    if status.state == "online":
        return _on_birth(state, status, now, retained=retained)
    news = status.session > state.session or state.presence is Presence.UNKNOWN
    state = replace(state, session=status.session, interval_seconds=status.interval_seconds)
    if state.presence in PRESENT and status.reason == "lost":
        return replace(state, dying_at=state.dying_at or now)
    if state.presence in PRESENT or news:
        return _gone(replace(state, connected=False), status.reason or "stopped", now)
    return state


def on_live(state: PresenceState, session: int, now: int) -> PresenceState:
    """Apply a message that the machine has just sent over its connection `session`."""
    if state.presence is Presence.RETIRED or session < state.session:
        return state
    if session == state.session and state.presence is Presence.OFFLINE and state.reason not in ("lost", "silent"):
        return state
    ends_behind = state.reason == BEHIND and session > state.session
    if state.presence is Presence.ONLINE and not ends_behind:  # common: without `replace`, which takes twice as long
        return PresenceState(
            Presence.ONLINE, state.reason, state.since_at, True, True, session, state.interval_seconds, now
        )
    heard = replace(state, session=session, connected=True, last_seen_at=now, verified=True, dying_at=None)
    reason = "connected" if session > state.session or state.presence is Presence.UNKNOWN else "heard"
    return replace(heard, presence=Presence.ONLINE, reason=reason, since_at=now)


def on_waited(state: PresenceState, session: int, now: int) -> PresenceState:
    """Apply a message that has waited here, behind those of others: it may precede a will of the same connection."""
    is_lost = state.dying_at is not None or (state.presence is Presence.OFFLINE and state.reason == "lost")
    return state if is_lost and session <= state.session else on_live(state, session, now)


def on_behind(state: PresenceState, now: int) -> PresenceState:
    """Apply a new sample of a session that is not current, from a machine that goes on sending such samples."""
    if state.presence is Presence.RETIRED:
        return state
    heard = replace(state, connected=True, last_seen_at=now, verified=True, dying_at=None)
    if state.presence is Presence.ONLINE and state.reason == BEHIND:
        return heard
    return replace(heard, presence=Presence.ONLINE, reason=BEHIND, since_at=now)


def heard_lately(config: OrgConfig, now: int, *, until_next_seconds: float = 0.0) -> range:
    """Return the arrival times after which no machine of this organisation can be stale yet (see `needs_tick`)."""
    silence = min(config.stale_seconds, config.offline_seconds) - until_next_seconds
    return range(now - ceil(silence * 1000) + 1, now + 1)


def needs_tick(state: PresenceState, lately: range) -> bool:
    """Return whether time may have changed this state; it cannot for nearly all of a fleet."""
    return (
        state.presence is not Presence.ONLINE
        or not state.verified
        or state.dying_at is not None
        or (state.last_seen_at or 0) not in lately
    )


def on_tick(
    state: PresenceState, config: OrgConfig, now: int, *, hearing_since: int | None, until_next_seconds: float = 0.0
) -> PresenceState:
    """Apply the passing of time. `hearing_since`: start of uninterrupted hearing, None while the ingestor is blind.

    A threshold that would be reached before the next tick, in `until_next_seconds`, counts as reached: never late.
    """
    if hearing_since is None:
        return state
    if state.presence in PRESENT:
        return _on_tick_present(state, config, now, hearing_since, until_next_seconds)
    if state.presence is Presence.OFFLINE:
        seen = min(now, state.last_seen_at if state.last_seen_at is not None else state.since_at)
        if now - seen >= config.time_to_live_seconds * 1000:
            return replace(state, presence=Presence.EXPIRED, reason="expired", since_at=now)
    return state


def on_revoked(state: PresenceState, now: int) -> PresenceState:
    """Retire a machine whose credential was revoked: its later messages change nothing."""
    if state.presence is Presence.RETIRED:
        return state
    retired = replace(state, presence=Presence.RETIRED, reason="revoked", since_at=now)
    return replace(retired, connected=False, verified=True, dying_at=None)


def on_reinstated(state: PresenceState, now: int) -> PresenceState:
    """Take a machine back into service whose credential is valid again."""
    if state.presence is not Presence.RETIRED or state.reason != "revoked":
        return state
    return replace(state, presence=Presence.OFFLINE, reason="reinstated", since_at=now)


def on_blind(state: PresenceState) -> PresenceState:
    """Mark a present machine as unverified until it is heard again: the ingestor cannot hear."""
    return replace(state, verified=False, dying_at=None) if state.presence in PRESENT else state


def _on_birth(state: PresenceState, status: Status, now: int, *, retained: bool) -> PresenceState:
    if retained:
        # A graceful stop keeps its own session: a machine that came back unheard is revived by its next live message.
        session = state.session if state.presence is Presence.OFFLINE else status.session
        return replace(state, session=session, connected=True, interval_seconds=status.interval_seconds)
    return replace(on_live(state, status.session, now), interval_seconds=status.interval_seconds)


def _on_tick_present(
    state: PresenceState, config: OrgConfig, now: int, hearing_since: int, until_next_seconds: float
) -> PresenceState:
    if state.dying_at is not None and now - state.dying_at >= WILL_GRACE_SECONDS * 1000:
        return _gone(replace(state, connected=False), "lost", now)
    heard_at = state.last_seen_at or 0
    silent = (now - max(heard_at if heard_at <= now else 0, hearing_since)) / 1000
    if not state.verified and silent < RECONNECT_SECONDS:
        return state
    silent += until_next_seconds
    if silent >= offline_after_seconds(config, state.interval_seconds):
        return _gone(state, "silent", now)
    if state.presence is Presence.ONLINE and silent >= stale_after_seconds(config, state.interval_seconds):
        return replace(state, presence=Presence.STALE, reason="silent", since_at=now, verified=True)
    return state


def _gone(state: PresenceState, reason: str, now: int) -> PresenceState:
    return replace(state, presence=Presence.OFFLINE, reason=reason, since_at=now, dying_at=None, verified=True)
