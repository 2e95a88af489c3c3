import pytest
from sqlalchemy import Engine, select, text

from schemas.database.tables import sample


@pytest.mark.parametrize("reading", [0.0, 0.01, 0.29, 33.33, 57.9, 99.99, 100.0, -40.55, None])
def test_a_reading_of_two_decimals_comes_back_as_it_was(database: Engine, reading: float | None) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO org (id, name, config, created_at) VALUES (1, 'home', '{}', 1)"))
        connection.execute(text("INSERT INTO machine (id, org_id, name, created_at) VALUES (1, 1, 'attic', 1)"))
        key = {"machine_id": 1, "sampled_at": 1, "stream_number": 1, "seq": 1, "delay_milliseconds": 0}
        connection.execute(sample.insert().values(**key, cpu_percent=reading))
        assert connection.scalar(select(sample.c.cpu_percent)) == reading
