"""Quiet hours in local time, across both changes of the clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from schemas.people.routing import Preferences, QuietWindow, Route

CHANGES = {
    "Europe/Paris": ((2026, 3, 29), (2026, 10, 25)),
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "Australia/Lord_Howe": ((2026, 10, 4), (2026, 4, 5)),
}


def quiet_minutes(zone: str, day: tuple[int, int, int], start: str, end: str) -> int:
    """The number of minutes of a local day, from noon of the day before to noon of the day after, that are quiet."""
    preferences = Preferences(zone=zone, quiet=(QuietWindow(start=start, end=end),))
    noon = datetime(*day, 12, tzinfo=ZoneInfo(zone))
    begin = (noon - timedelta(days=1)).astimezone(UTC)
    count = int((noon.astimezone(UTC) - begin).total_seconds() // 60)
    moments = (begin + timedelta(minutes=minute) for minute in range(count))
    return sum(preferences.is_quiet("warning", round(each.timestamp() * 1000)) for each in moments)


@pytest.mark.parametrize("zone", CHANGES)
def test_a_night_is_shorter_in_spring_and_longer_in_autumn_but_ends_at_the_same_local_time(zone: str) -> None:
    spring, autumn = CHANGES[zone]
    change = 30 if zone == "Australia/Lord_Howe" else 60
    assert quiet_minutes(zone, (2026, 6, 10), "22:00", "07:00") == 540
    assert quiet_minutes(zone, spring, "22:00", "07:00") == 540 - change
    assert quiet_minutes(zone, autumn, "22:00", "07:00") == 540 + change


def test_an_hour_that_is_skipped_is_not_quiet_and_one_that_is_repeated_is_quiet_twice() -> None:
    spring, autumn = CHANGES["Europe/Paris"]
    assert quiet_minutes("Europe/Paris", spring, "02:00", "03:00") == 0
    assert quiet_minutes("Europe/Paris", autumn, "02:00", "03:00") == 120


def test_a_window_past_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    friday = QuietWindow(days=frozenset({4}), start="22:00", end="06:00")
    assert friday.contains(datetime(2026, 6, 5, 23, 0, tzinfo=UTC))
    assert friday.contains(datetime(2026, 6, 6, 5, 59, tzinfo=UTC))
    assert not friday.contains(datetime(2026, 6, 6, 23, 0, tzinfo=UTC))
    assert not friday.contains(datetime(2026, 6, 5, 5, 0, tzinfo=UTC))


def test_a_window_from_a_time_to_the_same_time_is_a_whole_day() -> None:
    sunday = QuietWindow(days=frozenset({6}), start="00:00", end="00:00")
    assert sunday.contains(datetime(2026, 6, 7, 0, 0, tzinfo=UTC))
    assert sunday.contains(datetime(2026, 6, 7, 23, 59, tzinfo=UTC))
    assert not sunday.contains(datetime(2026, 6, 8, 0, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    "values",
    [
        {"zone": "Europe/Atlantis"},
        {"zone": "../../etc/passwd"},
        {"quiet": [{"start": "25:00", "end": "07:00"}]},
        {"quiet": [{"start": "22:00", "end": "٠٧:00"}]},
        {"repeat_seconds": 10},
        {"language": "xx"},
        {"colour": "red"},
        {"group_seconds": -1},
    ],
)
def test_settings_that_make_no_sense_are_rejected(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preferences.model_validate(values)


def test_stored_settings_are_read_back_as_they_were() -> None:
    window = QuietWindow(days=frozenset({0, 6}), start="22:00", end="07:00")
    preferences = Preferences(zone="Europe/Paris", quiet=(window,), repeat_seconds=600)
    assert Preferences.model_validate_json(preferences.model_dump_json()) == preferences
    route = Route(labels={"site": "nantes"}, severities=frozenset({"critical"}))
    assert Route.model_validate_json(route.model_dump_json()) == route
