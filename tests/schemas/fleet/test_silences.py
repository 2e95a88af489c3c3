"""When silences apply: schedules in local time, across the days on which clocks are changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.contract.alerts import DAYS, AddSilence, Weekly
from schemas.contract.machine_selector import MachineSelector, StoredTraits
from schemas.fleet.silences import AppliedSilence, Silence, SilenceState, applied, current, next_window, windows

HOUR = 3_600_000
PARIS, NEW_YORK, LORD_HOWE = "Europe/Paris", "America/New_York", "Australia/Lord_Howe"
ALL_DAYS = DAYS


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def shown(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def weekly(start: str, end: str, zone: str = PARIS, days: tuple[str, ...] = ALL_DAYS) -> Weekly:
    return Weekly.model_validate({"days": days, "start": start, "end": end, "zone": zone})


def window(at: str, start: str, end: str, zone: str = PARIS, days: tuple[str, ...] = ALL_DAYS) -> tuple[str, str]:
    found = next_window(weekly(start, end, zone, days), utc(at))
    return shown(found[0]), shown(found[1])


def test_a_window_is_in_the_local_time_of_its_zone_in_winter_and_in_summer() -> None:
    assert window("2026-01-14 00:00", "22:00", "23:00") == ("2026-01-14 21:00", "2026-01-14 22:00")
    assert window("2026-07-14 00:00", "22:00", "23:00") == ("2026-07-14 20:00", "2026-07-14 21:00")
    assert window("2026-07-14 00:00", "22:00", "23:00", NEW_YORK) == ("2026-07-14 02:00", "2026-07-14 03:00")


def test_a_window_past_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    monday = ("mon",)
    assert window("2026-01-12 00:00", "22:00", "02:00", days=monday) == ("2026-01-12 21:00", "2026-01-13 01:00")
    assert window("2026-01-13 00:30", "22:00", "02:00", days=monday) == ("2026-01-12 21:00", "2026-01-13 01:00")
    assert window("2026-01-13 01:00", "22:00", "02:00", days=monday) == ("2026-01-19 21:00", "2026-01-20 01:00")


def test_a_window_whose_start_is_its_end_lasts_a_day() -> None:
    assert window("2026-01-12 12:00", "08:00", "08:00") == ("2026-01-12 07:00", "2026-01-13 07:00")


# Clocks are changed in Paris on 2026-03-29 at 01:00 UTC (02:00 becomes 03:00) and on 2026-10-25 at 01:00 UTC (03:00
# becomes 02:00), in New York on 2026-03-08 at 07:00 UTC and on 2026-11-01 at 06:00 UTC, on Lord Howe by half an hour
# on 2026-10-03 at 15:30 UTC (02:00 becomes 02:30) and on 2026-04-04 at 15:00 UTC (02:00 becomes 01:30).
CHANGES = [
    # around the change: the window is an hour, or half an hour, shorter or longer than its local times say
    (PARIS, "2026-03-28 12:00", "22:00", "06:00", "2026-03-28 21:00", "2026-03-29 04:00"),
    (PARIS, "2026-10-24 12:00", "22:00", "06:00", "2026-10-24 20:00", "2026-10-25 05:00"),
    (NEW_YORK, "2026-03-07 20:00", "22:00", "06:00", "2026-03-08 03:00", "2026-03-08 10:00"),
    (NEW_YORK, "2026-10-31 20:00", "22:00", "06:00", "2026-11-01 02:00", "2026-11-01 11:00"),
    (LORD_HOWE, "2026-10-03 10:00", "22:00", "06:00", "2026-10-03 11:30", "2026-10-03 19:00"),
    (LORD_HOWE, "2026-04-04 08:00", "22:00", "06:00", "2026-04-04 11:00", "2026-04-04 19:30"),
    # a start that does not exist, an end that does not exist, and both
    (PARIS, "2026-03-29 00:00", "02:30", "05:00", "2026-03-29 01:00", "2026-03-29 03:00"),
    (PARIS, "2026-03-29 00:00", "01:00", "02:30", "2026-03-29 00:00", "2026-03-29 01:30"),
    (PARIS, "2026-03-29 00:00", "02:15", "02:45", "2026-03-29 01:00", "2026-03-29 01:45"),
    (LORD_HOWE, "2026-10-03 15:00", "02:10", "03:00", "2026-10-03 15:30", "2026-10-03 16:00"),
    # a start that occurs twice, an end that occurs twice, and both
    (PARIS, "2026-10-25 00:00", "02:30", "05:00", "2026-10-25 00:30", "2026-10-25 04:00"),
    (PARIS, "2026-10-24 23:30", "01:00", "02:30", "2026-10-24 23:00", "2026-10-25 01:30"),
    (PARIS, "2026-10-25 00:00", "02:15", "02:45", "2026-10-25 00:15", "2026-10-25 01:45"),
    (NEW_YORK, "2026-11-01 05:00", "01:15", "01:45", "2026-11-01 05:15", "2026-11-01 06:45"),
    (LORD_HOWE, "2026-04-04 14:00", "01:40", "01:50", "2026-04-04 14:40", "2026-04-04 15:20"),
]


@pytest.mark.parametrize(("zone", "at", "start", "end", "begins", "ends"), CHANGES)
def test_a_window_covers_all_that_its_local_times_may_mean_when_clocks_are_changed(
    zone: str, at: str, start: str, end: str, begins: str, ends: str
) -> None:
    assert window(at, start, end, zone) == (begins, ends)


def test_a_window_that_the_clocks_skip_as_a_whole_does_not_take_place() -> None:
    assert window("2026-03-08 06:00", "02:30", "03:00", NEW_YORK) == ("2026-03-09 06:30", "2026-03-09 07:00")
    sundays = window("2026-03-08 06:00", "02:30", "03:00", NEW_YORK, ("sun",))
    assert sundays == ("2026-03-15 06:30", "2026-03-15 07:00")


@pytest.mark.parametrize("zone", [PARIS, NEW_YORK, LORD_HOWE, "Pacific/Apia", "America/Santiago", "Asia/Beirut"])
@given(
    minutes=st.tuples(st.integers(0, 1439), st.integers(0, 1439)),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    hour=st.integers(0, 366 * 24),
)
def test_every_minute_whose_local_time_is_within_the_window_is_silenced(
    zone: str, minutes: tuple[int, int], days: set[str], hour: int
) -> None:
    """A second way to decide it: look at the clock. It may say no where a window was widened, never yes beside one."""
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in minutes)
    plan = weekly(start, end, zone, tuple(sorted(days)))
    at = utc("2026-01-01 00:00") + hour * HOUR + 17 * 60_000
    local = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
    now, today = local.strftime("%H:%M"), DAYS[local.weekday()]
    yesterday = DAYS[(local - timedelta(days=1)).weekday()]
    if start < end:
        inside = today in days and start <= now < end
    else:
        inside = (today in days and now >= start) or (yesterday in days and now < end)
    found = next_window(plan, at)
    assert found[0] < found[1]
    assert at < found[1]
    assert found[0] - at <= 15 * 24 * HOUR
    if inside:
        assert found[0] <= at


def once(begins: int, ends: int, **fields: object) -> Silence:
    return Silence(MachineSelector(), begins, ends_at=ends, **fields)  # type: ignore[arg-type]


def test_a_silence_is_planned_then_active_then_past_and_past_at_once_when_it_is_ended() -> None:
    silence = once(100, 200)
    assert [silence.state(at) for at in (99, 100, 199, 200)] == [
        SilenceState.PLANNED,
        SilenceState.ACTIVE,
        SilenceState.ACTIVE,
        SilenceState.PAST,
    ]
    ended = once(100, 200, ended_at=150)
    assert [ended.state(at) for at in (149, 150)] == [SilenceState.ACTIVE, SilenceState.PAST]
    assert once(100, 200, ended_at=50).state(40) is SilenceState.PAST


def test_a_weekly_silence_begins_when_it_is_made_in_the_middle_of_a_window() -> None:
    made = utc("2026-01-12 22:00")
    silence = Silence(MachineSelector(), made, weekly=weekly("22:00", "02:00"))
    assert silence.window(made) == (made, utc("2026-01-13 01:00"))
    assert silence.state(utc("2026-01-13 12:00")) is SilenceState.PLANNED
    later = Silence(MachineSelector(), utc("2026-02-01 00:00"), weekly=weekly("22:00", "02:00", days=("mon",)))
    assert later.window(made) == (utc("2026-02-02 21:00"), utc("2026-02-03 01:00"))


def test_silences_without_a_break_between_them_are_one_to_an_alert() -> None:
    first, second, apart = once(0, 100, reason="a"), once(100, 300, reason="b"), once(301, 400, reason="c")
    inner = once(20, 50, reason="d")
    found = current(windows([apart, second, inner, first], 10), 10)
    assert [silence.reason for silence, _ in found] == ["a", "d", "b"]
    assert applied(found, 10) == AppliedSilence(300, "b")
    assert applied([each for each in found if each[0] is not first], 10) is None
    assert applied(found[:2], 10) == AppliedSilence(100, "a")
    assert current(windows([second], 10), 10) == []


def test_a_silence_covers_the_machines_and_the_rule_that_it_names() -> None:
    traits = StoredTraits(labels={"site": "nantes", "env": "prod"})
    by_label = Silence(MachineSelector(labels={"site": "nantes"}), 0, rule="disk")
    assert by_label.covers("attic", traits, "disk")
    assert not by_label.covers("attic", traits, "cpu")
    assert not by_label.covers("attic", StoredTraits(), "disk")
    assert Silence(MachineSelector(machines=("attic",)), 0).covers("attic", StoredTraits(), "cpu")
    assert not Silence(MachineSelector(machines=("attic",)), 0).covers("cellar", traits, "cpu")


@pytest.mark.parametrize(
    "fields",
    [
        {"lifetime_seconds": 3600, "reason": ""},
        {"lifetime_seconds": 3600, "reason": "  "},
        {"reason": "no end"},
        {"lifetime_seconds": 30 * 86_400 + 1, "reason": "too long"},
        {"lifetime_seconds": 3600, "weekly": {"days": ["mon"], "start": "22:00", "end": "02:00", "zone": "UTC"}},
    ],
)
def test_a_silence_without_a_reason_or_a_bound_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AddSilence.model_validate({"reason": "maintenance", **fields})


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Europe/Nowhere"},
        {"zone": "Europe"},
        {"zone": "../../etc/passwd"},
        {"zone": "/etc/localtime"},
        {"zone": ""},
        {"days": []},
        {"days": ["monday"]},
        {"start": "24:00"},
        {"end": "2:00"},
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Weekly.model_validate({"days": ["mon"], "start": "22:00", "end": "02:00", "zone": "UTC", **wrong})
