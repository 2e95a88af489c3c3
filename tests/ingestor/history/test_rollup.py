"""Roll-ups: equal to a recomputation from scratch, whatever came late, twice, out of order, or after a crash."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollups import LENGTHS, READINGS, START, Keeper, arrived, tend
from servers import postgresql
from sqlalchemy import Engine, delete, event

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from ingestor.domain.batch import Arrived, Batch
from ingestor.history.rollup import HOUR_DELAY
from ingestor.storage.rollup_marks import GRACE
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.fleet.history import HOUR, MINUTE

SECOND = 1000


def fill(engine: Engine) -> Engine:
    """Two machines, with the numbers 1 and 2."""
    add_org(engine, "home", now=lambda: 0)
    for name in ("attic", "cellar"):
        add_principal(engine, Principal(Role.MACHINE, "home", name), "made-up", now=lambda: 0)
    return engine


@pytest.fixture
def keeper(database: Engine) -> Keeper:
    return Keeper(fill(database))


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for name in ("sample", "minute", "hour", "dirty", "pruned"):
            connection.execute(delete(tables.metadata.tables[name]))


POINTS = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.integers(0, 3 * HOUR),
        st.sampled_from([0, 0, 0, -7 * MINUTE, 90 * MINUTE + 1, -400 * HOUR]),
        st.one_of(st.none(), READINGS),
        st.one_of(st.none(), st.floats(-1e300, 1e300)),
    ),
    min_size=1,
    max_size=40,
)
ACTS = st.lists(st.sampled_from(["write", "write again", "roll up", "wait", "restart"]), max_size=40)


def play(keeper: Keeper, points: list[tuple[int, int, int, float | None, float | None]], acts: list[str]) -> None:
    samples = [
        arrived(machine, START + at, seq + 1, offset=offset, cpu=cpu, extra=extra)
        for seq, (machine, at, offset, cpu, extra) in enumerate(points)
    ]
    waiting, written = list(samples), list[Arrived]()
    for act in [*acts, "rest"]:
        if act == "write" and waiting:
            written = [waiting.pop()]
            keeper.write(*written)
        elif act == "write again" and written:
            keeper.store.write(Batch(samples=written))
        elif act == "roll up":
            keeper.rollup.step(keeper.now)
        elif act == "wait":
            keeper.now += 25 * MINUTE
        elif act == "restart":
            keeper.restart()
        elif act == "rest":
            keeper.write(*waiting)
    keeper.finish()
    for name, length in LENGTHS.items():
        keeper.check(name, length)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=POINTS, acts=ACTS)
def test_roll_ups_are_what_summing_up_from_scratch_gives(
    keeper: Keeper, points: list[tuple[int, int, int, float | None, float | None]], acts: list[str]
) -> None:
    empty(keeper.engine)
    play(Keeper(keeper.engine), points, acts)


@pytest.fixture(scope="module")
def postgresql_engine() -> Iterator[Engine]:
    with postgresql() as url:
        engine = open_engine(url)
        upgrade(engine)
        yield fill(engine)
        engine.dispose()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=POINTS, acts=ACTS)
def test_so_they_are_on_postgresql(
    postgresql_engine: Engine, points: list[tuple[int, int, int, float | None, float | None]], acts: list[str]
) -> None:
    empty(postgresql_engine)
    play(Keeper(postgresql_engine), points, acts)


def test_a_minute_is_rolled_up_once_it_is_over_and_an_hour_a_while_later(keeper: Keeper) -> None:
    keeper.write(arrived(1, START + 10 * SECOND, 1))
    assert not keeper.rollup.step(START + MINUTE + GRACE - 1)
    assert keeper.rollup.step(START + MINUTE + GRACE)
    assert set(keeper.stored("minute")) == {(1, START)}
    assert not keeper.rollup.step(START + MINUTE + GRACE)
    assert keeper.rollup.step(START + MINUTE + GRACE + HOUR_DELAY)
    assert set(keeper.stored("hour")) == {(1, START)}


def test_a_minute_is_marked_once_however_many_samples_it_has(keeper: Keeper) -> None:
    written: list[str] = []
    event.listen(keeper.engine, "before_cursor_execute", lambda *a: written.append(a[2]))
    for seq in range(1, 7):
        keeper.write(arrived(1, START + seq * 9 * SECOND, seq))
    assert sum("INSERT INTO dirty" in statement for statement in written) == 1


def test_a_sample_that_comes_after_its_minute_was_rolled_up_corrects_it(keeper: Keeper) -> None:
    keeper.write(arrived(1, START + SECOND, 1, cpu=10.0))
    keeper.finish()
    keeper.write(arrived(1, START + 2 * SECOND, 2, cpu=30.0))
    keeper.finish()
    for name in LENGTHS:
        row = keeper.stored(name)[1, START]
        assert [row[f"cpu_percent_{part}"] for part in ("count", "min", "avg", "max")] == [2, 10.0, 20.0, 30.0]


def test_a_crash_between_two_steps_loses_nothing(keeper: Keeper) -> None:
    keeper.write(*(arrived(1, START + seq * 20 * SECOND, seq) for seq in range(1, 30)))

    def crash(*call: object) -> None:
        if "INSERT INTO minute" in str(call[2]):
            raise KeyboardInterrupt

    event.listen(keeper.engine, "after_cursor_execute", crash)
    with pytest.raises(KeyboardInterrupt):
        keeper.finish()
    event.remove(keeper.engine, "after_cursor_execute", crash)
    assert not keeper.stored("minute")
    keeper.restart()
    keeper.finish()
    for name, length in LENGTHS.items():
        keeper.check(name, length)


def test_a_machine_that_was_removed_leaves_nothing_to_roll_up(keeper: Keeper) -> None:
    keeper.write(arrived(1, START, 1), arrived(2, START, 1))
    with keeper.engine.begin() as connection:
        connection.execute(delete(tables.machine).where(tables.machine.c.id == 1))
    keeper.finish()
    assert set(keeper.stored("minute")) == {(2, START)}


@pytest.fixture
def either(each_database_url: str) -> Iterator[Keeper]:
    """A store on each database."""
    engine = open_engine(each_database_url)
    upgrade(engine)
    yield Keeper(fill(engine))
    engine.dispose()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestor.history.rollup.ROWS_READ_MAX", 7)


def steps(keeper: Keeper) -> int:
    """Roll everything up that is due; the number of steps."""
    number = 0
    while keeper.rollup.step(keeper.now):
        number += 1
    return number


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("count", [6, 7, 8, 14, 100])
def test_a_minute_with_more_samples_than_a_step_reads_is_rolled_up_in_several(either: Keeper, count: int) -> None:
    either.write(*(arrived(1, START + i, i + 1, cpu=i % 50, extra=float(i)) for i in range(count)))
    either.write(*(arrived(2, START + i * 20_000, i + 1) for i in range(30)))
    either.now += HOUR
    assert steps(either) >= count // 7
    either.check("minute", MINUTE)
    row = either.stored("minute")[1, START]
    assert (row["samples"], row["sampled_from"], row["sampled_to"]) == (count, START, START + count - 1)


@pytest.mark.usefixtures("small_steps")
def test_samples_that_come_while_a_large_minute_is_rolled_up_are_in_it(either: Keeper) -> None:
    either.write(*(arrived(1, START + i, i + 1, cpu=5.0) for i in range(10, 40)))
    either.now += HOUR
    for _ in range(3):
        assert either.rollup.step(either.now)
    either.write(arrived(1, START + 1, 1, cpu=90.0))
    steps(either)
    assert either.stored("minute") == {}, "it is put off"
    either.now += 2 * MINUTE
    steps(either)
    either.check("minute", MINUTE)


@pytest.mark.usefixtures("small_steps")
def test_a_large_minute_that_a_crash_interrupts_begins_again(either: Keeper) -> None:
    either.write(*(arrived(1, START + i, i + 1, cpu=5.0) for i in range(30)))
    either.now += HOUR
    assert either.rollup.step(either.now)
    either.restart()
    steps(either)
    either.check("minute", MINUTE)


@pytest.mark.usefixtures("small_steps")
def test_a_large_minute_whose_first_samples_were_pruned_is_merged_in_several_steps(either: Keeper) -> None:
    either.write(*(arrived(1, START + i, i + 1, cpu=5.0) for i in range(20)))
    tend(either, hours=60)
    assert either.stored("minute")[1, START]["samples"] == 20
    either.write(*(arrived(1, START + 100 + i, 100 + i, cpu=50.0) for i in range(20)))
    tend(either)
    either.check("minute", MINUTE)
    either.check("hour", HOUR)
