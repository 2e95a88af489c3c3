from seeding import Fleet
from sqlalchemy import Engine, text, update

from schemas.database import tables
from schemas.database.queries.settings import read_settings
from schemas.fleet.history import Retention


def test_an_organisation_judges_by_its_own_thresholds(fleet: Fleet, reader: Engine) -> None:
    fleet.org()
    assert read_settings(reader, "home")[0].thresholds.ok_score == 80
    with fleet.engine.begin() as connection:
        connection.execute(text("""UPDATE org SET config = '{"thresholds": {"ok_score": 90}}'"""))
    assert read_settings(reader, "home")[0].thresholds.ok_score == 90
    assert read_settings(reader, "nowhere")[0].thresholds.ok_score == 80


def test_an_organisation_keeps_its_data_for_as_long_as_it_says(fleet: Fleet, reader: Engine) -> None:
    fleet.org()
    assert read_settings(reader, "home")[1] == Retention()
    brief = Retention(samples_seconds=3600)
    with fleet.engine.begin() as connection:
        connection.execute(update(tables.org).values(retention=brief.model_dump()))
    assert read_settings(reader, "home")[1] == brief
    assert read_settings(reader, "nowhere")[1] == Retention()
