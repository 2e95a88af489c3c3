"""Who is there: pure functions over (what was known, what happened, the server's time).

`connected` (what the last status said) and `presence` (whether the machine reports) are separate facts.

Invariants:
- Only the server's clock decides; a machine's clock appears nowhere here.
- A death counts only for the current session. Whatever carries a lower session is old news and changes nothing.
- A live message of the current session beats a will of it: a will is held for WILL_GRACE_SECONDS, within which any sign
  of life, or a new session, takes it back. Brokers send wills late, and at a take-over.
- After a goodbye only a higher session revives: what was still on its way does not.
- While the observer is blind no timer runs; after it, they start again from the moment it could hear, and a machine
  that was not heard since gets RECONNECT_SECONDS before it is called stale: the broker may have restarted, and its
  agents come back one by one.
- Nothing rests on wills alone: silence makes `stale`, then `offline`, in any case.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil

from schemas.contract.messages import OrgConfig, Status

WILL_GRACE_SECONDS = 2.0

RECONNECT_SECONDS = 60.0
"""The longest that an agent waits between two attempts to connect (`broker.client.transport.Backoff`)."""


class Presence(StrEnum):
    """Whether a machine reports."""

    UNKNOWN = "unknown"
    """Never heard of."""
    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"
    EXPIRED = "expired"
    """Offline for longer than the organisation's time to live."""
    RETIRED = "retired"
    """Taken out of service by an operator."""


PRESENT = frozenset((Presence.ONLINE, Presence.STALE))


@dataclass(frozen=True, slots=True)
class PresenceState:
    """What is known of a machine's presence. Times are milliseconds of the server's clock."""

    presence: Presence = Presence.UNKNOWN
    reason: str = ""
    since_at: int = 0
    verified: bool = True
    connected: bool = False
    session: int = 0
    interval_seconds: float = 10.0
    last_seen_at: int | None = None
    dying_at: int | None = None
    """When a will for the current session arrived that nothing has taken back yet."""


def is_there(state: PresenceState) -> bool:
    """Whether it was just heard: else it may be gone."""
    return state.verified and state.presence is Presence.ONLINE


def on_status(state: PresenceState, status: Status, now: int, *, retained: bool) -> PresenceState:
    """A birth, a goodbye or a will arrived. `retained`: the broker had kept it, so it says nothing about now."""
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
    """A message that the machine itself has just sent over its connection `session`."""
    if state.presence is Presence.RETIRED or session < state.session:
        return state
    if session == state.session and state.presence is Presence.OFFLINE and state.reason not in ("lost", "silent"):
        return state
    if state.presence is Presence.ONLINE:  # as almost always, so without `replace`, which takes twice as long
        return PresenceState(
            Presence.ONLINE, state.reason, state.since_at, True, True, session, state.interval_seconds, now
        )
    heard = replace(state, session=session, connected=True, last_seen_at=now, verified=True, dying_at=None)
    reason = "connected" if session > state.session or state.presence is Presence.UNKNOWN else "heard"
    return replace(heard, presence=Presence.ONLINE, reason=reason, since_at=now)


def heard_lately(config: OrgConfig, now: int, *, until_next_seconds: float = 0.0) -> range:
    """The times of arrival from which no silence of a machine of this organisation can have run out (`needs_tick`)."""
    silence = min(config.stale_seconds, config.offline_seconds) - until_next_seconds
    return range(now - ceil(silence * 1000) + 1, now + 1)


def needs_tick(state: PresenceState, lately: range) -> bool:
    """Whether time may have changed this: with nearly all of a fleet it cannot, at each tick."""
    return (
        state.presence is not Presence.ONLINE
        or not state.verified
        or state.dying_at is not None
        or (state.last_seen_at or 0) not in lately
    )


def on_tick(
    state: PresenceState, config: OrgConfig, now: int, *, hearing_since: int | None, until_next_seconds: float = 0.0
) -> PresenceState:
    """Time has passed. `hearing_since`: since when the observer hears without a break, None while it is blind.

    A silence that would run out before the next tick, in `until_next_seconds`, runs out now: never later than it says.
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
    """The machine's credential was revoked: whatever arrives of it from now on changes nothing."""
    if state.presence is Presence.RETIRED:
        return state
    retired = replace(state, presence=Presence.RETIRED, reason="revoked", since_at=now)
    return replace(retired, connected=False, verified=True, dying_at=None)


def on_reinstated(state: PresenceState, now: int) -> PresenceState:
    """The machine has a credential; one that was retired for want of it may come back."""
    if state.presence is not Presence.RETIRED or state.reason != "revoked":
        return state
    return replace(state, presence=Presence.OFFLINE, reason="reinstated", since_at=now)


def on_blind(state: PresenceState) -> PresenceState:
    """The observer cannot hear: what is shown as present is unverified until it is heard again."""
    return replace(state, verified=False, dying_at=None) if state.presence in PRESENT else state


def _on_birth(state: PresenceState, status: Status, now: int, *, retained: bool) -> PresenceState:
    if retained:
        # A goodbye stays that of its own session: whoever came back unheard is revived by its next live message.
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
    if silent >= max(config.offline_intervals * state.interval_seconds, config.offline_seconds):
        return _gone(state, "silent", now)
    stale_after = max(config.stale_intervals * state.interval_seconds, config.stale_seconds)
    if state.presence is Presence.ONLINE and silent >= stale_after:
        return replace(state, presence=Presence.STALE, reason="silent", since_at=now, verified=True)
    return state


def _gone(state: PresenceState, reason: str, now: int) -> PresenceState:
    return replace(state, presence=Presence.OFFLINE, reason=reason, since_at=now, dying_at=None, verified=True)
