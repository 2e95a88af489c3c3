"""Every rule of presence, as a table of what happened and what must be believed afterwards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestor.domain.presence import (
    WILL_GRACE_SECONDS,
    Presence,
    PresenceState,
    heard_lately,
    needs_tick,
    on_blind,
    on_live,
    on_status,
    on_tick,
    on_waited,
)
from schemas.contract.messages import OfflineReason, Status
from schemas.contract.org_config import OrgConfig

NOW = 1_700_000_000_000
CONFIG = OrgConfig()
ONLINE = PresenceState(
    presence=Presence.ONLINE, reason="connected", since_at=NOW, connected=True, session=7, last_seen_at=NOW
)


def status(reason: OfflineReason | None = None, *, session: int = 7, interval_seconds: float = 10.0) -> Status:
    state = "offline" if reason else "online"
    values = {"state": state, "reason": reason, "session": session, "at": 0, "interval_seconds": interval_seconds}
    return Status.model_validate(values)


def ticked(
    state: PresenceState, seconds: float, *, hearing_since: int | None = NOW, config: OrgConfig = CONFIG
) -> PresenceState:
    return on_tick(state, config, NOW + round(seconds * 1000), hearing_since=hearing_since)


def test_a_machine_never_heard_of_comes_online_with_its_first_live_message() -> None:
    state = on_live(PresenceState(), 3, NOW)
    assert (state.presence, state.reason, state.session) == (Presence.ONLINE, "connected", 3)
    assert state.last_seen_at == NOW
    assert state.verified


def test_a_birth_brings_a_machine_online_and_sets_its_interval() -> None:
    state = on_status(PresenceState(), status(interval_seconds=60.0), NOW, retained=False)
    assert state.presence is Presence.ONLINE
    assert state.connected
    assert state.interval_seconds == 60


def test_a_retained_birth_says_nothing_about_now() -> None:
    state = on_status(PresenceState(), status(), NOW, retained=True)
    assert state.presence is Presence.UNKNOWN
    assert state.connected
    assert state.last_seen_at is None


@pytest.mark.parametrize("reason", ["stopped", "restarting", "rebooting", "asleep"])
def test_a_goodbye_makes_a_machine_offline_at_once_with_its_reason(reason: OfflineReason) -> None:
    state = on_status(ONLINE, status(reason), NOW + 5, retained=False)
    assert (state.presence, state.reason, state.since_at) == (Presence.OFFLINE, reason, NOW + 5)
    assert not state.connected


def test_a_will_makes_a_machine_offline_when_nothing_takes_it_back() -> None:
    dying = on_status(ONLINE, status("lost"), NOW, retained=False)
    assert dying.presence is Presence.ONLINE
    assert ticked(dying, WILL_GRACE_SECONDS - 0.1).presence is Presence.ONLINE
    dead = ticked(dying, WILL_GRACE_SECONDS)
    assert (dead.presence, dead.reason) == (Presence.OFFLINE, "lost")


def test_a_live_message_of_the_current_session_beats_a_will() -> None:
    dying = on_status(ONLINE, status("lost"), NOW, retained=False)
    alive = on_live(dying, 7, NOW + 500)
    assert ticked(alive, 10).presence is Presence.ONLINE


def test_a_message_that_waited_in_the_ingestor_takes_back_no_will_of_its_session_but_that_of_an_older_one() -> None:
    dying = on_status(ONLINE, status("lost"), NOW, retained=False)
    assert on_waited(dying, 7, NOW + 500) == dying
    dead = ticked(dying, WILL_GRACE_SECONDS)
    assert on_waited(dead, 7, NOW + 5000) == dead
    assert on_waited(dead, 8, NOW + 5000).presence is Presence.ONLINE
    assert on_waited(ONLINE, 7, NOW + 500) == on_live(ONLINE, 7, NOW + 500)


def test_the_birth_of_the_next_session_takes_back_the_will_of_a_take_over() -> None:
    dying = on_status(ONLINE, status("lost"), NOW, retained=False)
    alive = on_status(dying, status(session=8), NOW + 10, retained=False)
    assert ticked(alive, 10).presence is Presence.ONLINE
    assert alive.session == 8


def test_a_late_will_of_an_earlier_session_changes_nothing() -> None:
    assert on_status(replace(ONLINE, session=9), status("lost", session=8), NOW, retained=False) == replace(
        ONLINE, session=9
    )


def test_a_live_message_of_an_earlier_session_changes_nothing() -> None:
    assert on_live(ONLINE, 6, NOW + 1000) == ONLINE


def test_after_a_goodbye_only_a_higher_session_revives() -> None:
    gone = on_status(ONLINE, status("stopped"), NOW, retained=False)
    assert on_live(gone, 7, NOW + 100).presence is Presence.OFFLINE
    assert on_live(gone, 8, NOW + 100).presence is Presence.ONLINE


def test_a_machine_that_came_back_while_nobody_listened_is_online_with_its_next_message() -> None:
    gone = on_status(ONLINE, status("restarting"), NOW, retained=False)
    back = on_status(gone, status(session=8), NOW + 500, retained=True)
    assert (back.presence, back.reason, back.connected) == (Presence.OFFLINE, "restarting", True)
    assert on_live(back, 7, NOW + 600) == back
    alive = on_live(back, 8, NOW + 700)
    assert (alive.presence, alive.reason, alive.session) == (Presence.ONLINE, "connected", 8)


def test_after_a_will_the_same_session_revives() -> None:
    dead = ticked(on_status(ONLINE, status("lost"), NOW, retained=False), 5)
    assert on_live(dead, 7, NOW + 6000).presence is Presence.ONLINE


def test_silence_makes_stale_and_then_offline_without_any_will() -> None:
    assert ticked(ONLINE, 44.9).presence is Presence.ONLINE
    stale = ticked(ONLINE, 45)
    assert (stale.presence, stale.reason) == (Presence.STALE, "silent")
    assert ticked(stale, 179.9).presence is Presence.STALE
    gone = ticked(stale, 180)
    assert (gone.presence, gone.reason) == (Presence.OFFLINE, "silent")


def test_long_intervals_stretch_the_silence_that_is_allowed() -> None:
    slow = replace(ONLINE, interval_seconds=60.0)
    assert ticked(slow, 149).presence is Presence.ONLINE
    assert ticked(slow, 150).presence is Presence.STALE
    assert ticked(slow, 360).presence is Presence.OFFLINE


def test_an_offline_machine_expires_after_the_time_to_live() -> None:
    gone = replace(ONLINE, presence=Presence.OFFLINE, reason="lost")
    assert ticked(gone, CONFIG.time_to_live_seconds - 1).presence is Presence.OFFLINE
    assert ticked(gone, CONFIG.time_to_live_seconds).presence is Presence.EXPIRED


def test_an_expired_machine_comes_back_when_it_is_heard() -> None:
    assert on_live(replace(ONLINE, presence=Presence.EXPIRED), 8, NOW).presence is Presence.ONLINE


def test_while_the_observer_is_blind_no_timer_runs() -> None:
    assert ticked(ONLINE, 100_000, hearing_since=None) == ONLINE


def test_after_blindness_the_timers_start_again_from_the_moment_it_could_hear() -> None:
    hearing_since = NOW + 1_000_000
    assert ticked(ONLINE, 1000 + 44, hearing_since=hearing_since).presence is Presence.ONLINE
    assert ticked(ONLINE, 1000 + 45, hearing_since=hearing_since).presence is Presence.STALE


def test_a_blind_observer_calls_the_present_unverified_until_they_are_heard_again() -> None:
    blind = on_blind(ONLINE)
    assert not blind.verified
    assert blind.presence is Presence.ONLINE
    assert on_live(blind, 7, NOW).verified


def test_blindness_does_not_cast_doubt_on_those_who_said_goodbye() -> None:
    gone = on_status(ONLINE, status("stopped"), NOW, retained=False)
    assert on_blind(gone) == gone


def test_a_will_that_was_held_when_the_observer_went_blind_is_not_carried_out() -> None:
    dying = on_status(ONLINE, status("lost"), NOW, retained=False)
    assert ticked(on_blind(dying), 10).presence is Presence.ONLINE


def test_a_retained_goodbye_that_is_read_again_is_no_new_transition() -> None:
    gone = on_status(ONLINE, status("stopped"), NOW, retained=False)
    expired = replace(gone, presence=Presence.EXPIRED)
    assert on_status(gone, status("stopped"), NOW + 9000, retained=True) == gone
    assert on_status(expired, status("stopped"), NOW + 9000, retained=True).presence is Presence.EXPIRED


def test_a_retained_will_tells_of_a_machine_that_died_while_nobody_listened() -> None:
    died = on_status(on_blind(ONLINE), status("lost"), NOW + 1, retained=True)
    assert ticked(died, 5).presence is Presence.OFFLINE


def test_a_retired_machine_stays_retired() -> None:
    retired = replace(ONLINE, presence=Presence.RETIRED)
    assert on_live(retired, 99, NOW) == retired
    assert on_status(retired, status(session=99), NOW, retained=False) == retired


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["live", "birth", "will", "goodbye", "tick", "blind"]),
        st.integers(1, 5),
        st.integers(0, 60_000),
    ),
    max_size=40,
)


@given(EVENTS)
def test_sessions_never_go_back_and_times_never_run_ahead(events: list[tuple[str, int, int]]) -> None:
    state, now = PresenceState(), NOW
    for kind, session, pause in events:
        now += pause
        before = state
        match kind:
            case "live":
                state = on_live(state, session, now)
            case "birth":
                state = on_status(state, status(session=session), now, retained=False)
            case "will":
                state = on_status(state, status("lost", session=session), now, retained=False)
            case "goodbye":
                state = on_status(state, status("stopped", session=session), now, retained=False)
            case "tick":
                state = on_tick(state, CONFIG, now, hearing_since=NOW)
            case "blind":
                state = on_blind(state)
        assert state.session >= before.session
        assert state.since_at <= now
        assert (state.last_seen_at or 0) <= now
        assert (state.presence is before.presence) or state.since_at == now


STATES = st.builds(
    PresenceState,
    presence=st.sampled_from(Presence),
    since_at=st.just(NOW - 1_000_000),
    verified=st.booleans(),
    session=st.just(7),
    interval_seconds=st.sampled_from([0.5, 10.0, 60.0]),
    last_seen_at=st.none() | st.integers(NOW - 60_000, NOW + 5_000) | st.integers(NOW - 46_000, NOW - 44_000),
    dying_at=st.none() | st.integers(NOW - 3_000, NOW),
)


@given(STATES, st.sampled_from([0.0, 0.0005, 0.6]), st.integers(NOW - 100_000, NOW))
def test_a_tick_leaves_everyone_as_they_are_who_need_none(
    state: PresenceState, until: float, hearing_since: int
) -> None:
    lately = heard_lately(CONFIG, NOW, until_next_seconds=until)
    after = on_tick(state, CONFIG, NOW, hearing_since=hearing_since, until_next_seconds=until)
    assert needs_tick(state, lately) or after is state


def test_nobody_who_was_just_heard_needs_a_tick() -> None:
    assert not needs_tick(ONLINE, heard_lately(CONFIG, NOW + 1000, until_next_seconds=0.6))
    assert needs_tick(ONLINE, heard_lately(CONFIG, NOW + 44_400, until_next_seconds=0.6))
    assert needs_tick(replace(ONLINE, last_seen_at=None), heard_lately(CONFIG, NOW))
