"""The state of a requested change, according to the database."""

import pytest
from seeding import NOW
from sqlalchemy import Engine, select, text

from dashboard.changes.pending_changes import ChangeRequest, state_of
from dashboard.settings.sections import organisation as section
from schemas.contract.administration import ConfigureOrg
from schemas.fleet.organisation import SETTINGS, Setting

REQUEST = ChangeRequest("1" * 32, "Health", ConfigureOrg(settings={"cpu_knee_percent": 60}), NOW)


def row(database: Engine, state: str) -> object:
    with database.connect() as connection:
        return connection.execute(select(text(f"'{state}' AS state, 'why' AS detail"))).one()


def test_what_is_not_recorded_is_pending_until_nobody_asks_any_more(database: Engine) -> None:
    assert state_of(REQUEST, None, NOW - 1).code == "pending"
    assert state_of(REQUEST, None, NOW).code == "unanswered"
    assert "try again" in state_of(REQUEST, None, NOW).detail
    late = state_of(REQUEST, row(database, "accepted"), NOW + 1)  # type: ignore[arg-type]
    assert (late.code, late.detail) == ("accepted", "why")


@pytest.mark.parametrize("state", ["refused", "stopped"])
def test_what_is_recorded_otherwise_was_refused(database: Engine, state: str) -> None:
    found = state_of(REQUEST, row(database, state), NOW - 1)  # type: ignore[arg-type]
    assert (found.word.label, found.word.tone) == ("Refused", "bad")


def test_every_setting_of_an_organisation_has_its_title_for_the_catalogues() -> None:
    assert {name: title.message for name, title in section.TITLES.items()} == {
        name: setting.title for name, setting in SETTINGS.items()
    }


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("stale_seconds", 45.0, "45s"),
        ("stale_seconds", 0.5, "0.5s"),
        ("offline_seconds", 180.0, "3m"),
        ("offline_seconds", 5400.0, "90m"),
        ("time_to_live_seconds", 86_400, "1d"),
        ("time_to_live_seconds", 7200, "2h"),
        ("cpu_weight", 0.35, "0.35"),
        ("cpu_knee_percent", 50, "50"),
    ],
)
def test_a_value_that_is_written_into_the_form_is_read_again(name: str, value: float, written: str) -> None:
    setting: Setting = SETTINGS[name]
    assert section.written(setting, value) == written
    assert section.read(setting, written) == value


def test_people_may_write_a_percent_sign_or_a_comma_and_nothing_else() -> None:
    assert section.read(SETTINGS["cpu_knee_percent"], " 62,5 % ") == 62.5
    for text_ in ("", "a lot", "1 2"):
        with pytest.raises(ValueError, match="is not a number"):
            section.read(SETTINGS["cpu_knee_percent"], text_)
