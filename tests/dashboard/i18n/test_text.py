from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from seeding import NOW

from dashboard.i18n import text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (7500, "2 h 5 min"),
        (2**63, "over 99,999 d"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("age", "shown"), [(0, "0 s ago"), (4200, "4 s ago"), (150_000, "2 min ago"), (-900, "0 s ago")]
)
def test_ages(age: int, shown: str) -> None:
    assert text.ago(NOW - age, NOW) == shown


def test_never_seen() -> None:
    assert text.ago(None, NOW) == "never"


def test_times_are_in_the_viewers_zone_with_the_date_when_it_was_another_day() -> None:
    assert text.clock(NOW, UTC) == "22:13:20"
    assert text.clock(NOW, ZoneInfo("Europe/Paris")) == "23:13:20"
    assert text.moment(NOW, NOW + 60_000, UTC) == "22:13:20"
    assert text.moment(NOW, NOW + 86_400_000, UTC) == "14 Nov 2023, 22:13:20"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "rpm", "–"),
        (1180.0, "rpm", "1,180 rpm"),
        (0.4242, "", "0.424"),
        (52_000_000.0, "bytes", "49.6 MiB"),
        (47.3, "celsius", "47.3 °C"),
        (90.0, "seconds", "1 min 30 s"),
        (12.6, "percent", "13 %"),
        (7.0, "count", "7"),
        (1e300, "rpm", "1E300 rpm"),
        (-2.5e18, "percent", "-2.5E18 %"),
        (7.0, "revolutions per minute", "7 revolutions…"),
    ],
)
def test_quantities_are_shown_in_their_declared_unit(value: float | None, unit: str, shown: str) -> None:
    assert text.quantity(value, unit) == shown


def test_sizes_and_flows() -> None:
    assert text.size(16 * 2**30) == "16 GiB"
    assert text.byte_rate(1_234_000.0) == "1.2 MB/s"
    assert text.percent(None) == "–"


def test_a_code_of_a_later_version_shows_as_it_is() -> None:
    assert text.presence("hibernating").label == "hibernating"
    assert text.health("odd").label == "odd"
    assert text.reason("solar-flare") == "solar-flare"


@pytest.mark.parametrize(
    ("top", "scale"),
    [(0.0, ("B/s", 1)), (1500.0, ("kB/s", 1e3)), (2e6, ("MB/s", 1e6)), (3e9, ("GB/s", 1e9)), (9e15, ("TB/s", 1e12))],
)
def test_rates_are_shown_in_a_unit_that_reads_well(top: float, scale: tuple[str, float]) -> None:
    assert text.rate_scale(top) == text.UnitScale(*scale)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("web-1.example.org", "web-1.example.org"),
        ("two\nlines\tof it", "two\nlines\tof it"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("\x1b[31mred\x00\x07", "\ufffd[31mred\ufffd\ufffd"),
        ("e" + "\u0301" * 9 + "f", "e\u0301\u0301f"),
        ("caf\u0065\u0301", "cafe\u0301"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\u041c\u0430\u0448\u0438\u043d\u0430", "\u041c\u0430\u0448\u0438\u043d\u0430"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
    ],
)
def test_what_a_machine_says_changes_nothing_around_it(said: str, shown: str) -> None:
    assert text.readable(said) == shown
