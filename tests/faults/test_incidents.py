"""The rules of incidents, without processes."""

from dataclasses import replace

import pytest

from broker.client.transport import Backoff
from ingestor.domain.incidents import (
    CLONE_QUIET_SECONDS,
    MASS_WINDOW_SECONDS,
    Identity,
    Incident,
    Incidents,
    Kind,
    is_mass,
)
from ingestor.domain.presence import RECONNECT_SECONDS, Presence, PresenceState, on_tick
from schemas.contract.org_config import OrgConfig

ONLINE = PresenceState(presence=Presence.ONLINE, reason="heard")
STALE = PresenceState(presence=Presence.STALE, reason="silent")
GOODBYE = PresenceState(presence=Presence.OFFLINE, reason="stopped")
FLEET = {"home": 10, "large": 1000}


def silence(incidents: Incidents, *names: str, at: int, org: str = "home") -> list[Incident]:
    for name in names:
        incidents.presence_changed(org, name, ONLINE, STALE, at)
    incidents.tick(FLEET.__getitem__, at)
    return incidents.changed()


def test_three_machines_of_ten_that_go_quiet_together_are_one_incident() -> None:
    incidents = Incidents()
    assert silence(incidents, "a", "b", at=1000) == []
    (incident,) = silence(incidents, "c", at=2000)
    assert (incident.kind, incident.org, incident.started_at) == (Kind.MASS_SILENCE, "home", 1000)
    assert incident.details == {"machines": 3, "of": 10, "names": ["a", "b", "c"]}
    (same,) = silence(incidents, "d", at=3000)
    assert same is incident
    assert incident.details["machines"] == 4


def test_it_is_over_when_half_of_them_are_back_and_does_not_begin_again_for_the_others() -> None:
    incidents = Incidents()
    (incident,) = silence(incidents, *"abcdef", at=1000)
    for name in "abc":
        incidents.presence_changed("home", name, STALE, ONLINE, 5000)
    incidents.tick(FLEET.__getitem__, 5000)
    assert incidents.changed() == [incident]
    assert incident.ended_at == 5000
    incidents.tick(FLEET.__getitem__, 6000)
    assert incidents.changed() == []


def test_machines_that_go_quiet_one_by_one_are_no_incident() -> None:
    incidents = Incidents()
    step = round(MASS_WINDOW_SECONDS * 1000 / 2)
    assert [silence(incidents, name, at=1000 + number * step) for number, name in enumerate("abcdefgh")] == [[]] * 8


def test_machines_that_say_goodbye_are_no_incident() -> None:
    incidents = Incidents()
    for name in "abcdef":
        incidents.presence_changed("home", name, ONLINE, GOODBYE, 1000)
    incidents.tick(FLEET.__getitem__, 1000)
    assert incidents.changed() == []


@pytest.mark.parametrize(
    ("quiet", "machines", "mass"), [(2, 2, False), (3, 3, True), (199, 1000, False), (200, 1000, True)]
)
def test_a_fifth_of_the_machines_and_three_at_least_are_many(quiet: int, machines: int, mass: bool) -> None:
    assert is_mass(quiet, machines) is mass


def test_an_open_incident_is_followed_after_a_restart() -> None:
    open_ = Incident(Kind.MASS_SILENCE, "home", 1000, {"machines": 4, "of": 10, "names": [*"abcd"]}, id=7)
    quiet = [("home", name, replace(STALE, since_at=1500)) for name in "abcd"]
    incidents = Incidents([open_], quiet, now=9000)
    incidents.tick(FLEET.__getitem__, 9500)
    assert incidents.changed() == []
    for name in "ab":
        incidents.presence_changed("home", name, STALE, ONLINE, 10_000)
    incidents.tick(FLEET.__getitem__, 10_000)
    assert incidents.changed() == [open_]
    assert open_.ended_at == 10_000


def test_blindness_is_one_incident_from_the_loss_to_the_return_of_the_broker() -> None:
    incidents = Incidents()
    incidents.go_blind("gone", 1000)
    incidents.go_blind("refused", 2000)
    (incident,) = incidents.changed()
    assert (incident.kind, incident.org, incident.started_at) == (Kind.BLIND, "", 1000)
    incidents.hear_again(3000)
    incidents.hear_again(4000)
    assert incidents.changed() == [incident]
    assert incident.ended_at == 3000


def test_after_blindness_a_machine_is_not_called_stale_before_it_had_the_time_to_connect_again() -> None:
    assert Backoff().most_seconds <= RECONNECT_SECONDS
    unheard = PresenceState(presence=Presence.ONLINE, verified=False, last_seen_at=1000)
    soon = 2000 + round(RECONNECT_SECONDS * 1000)
    assert on_tick(unheard, OrgConfig(), soon - 1, hearing_since=2000) is unheard
    late = on_tick(unheard, OrgConfig(), soon, hearing_since=2000)
    assert (late.presence, late.verified) == (Presence.STALE, True)


def test_an_outbox_that_returns_after_another_took_its_place_is_a_clone() -> None:
    identity = Identity()
    assert [identity.returns(session, stream) for session, stream in enumerate("aaabbccd")] == [False] * 8
    assert identity.returns(9, "b")
    assert not identity.returns(8, "a")  # old news


def test_a_clone_is_one_incident_until_it_was_quiet_for_long() -> None:
    incidents = Incidents()
    for at in (1000, 2000):
        incidents.identity_shared("home", "attic", ["b", "a"], at)
    (incident,) = incidents.changed()
    assert incident.details == {"machine": "attic", "streams": ["a", "b"]}
    over = 2001 + round(CLONE_QUIET_SECONDS * 1000)
    incidents.tick(FLEET.__getitem__, over - 1)
    assert incidents.changed() == []
    incidents.tick(FLEET.__getitem__, over)
    assert incidents.changed() == [incident]
    assert incident.ended_at == over
