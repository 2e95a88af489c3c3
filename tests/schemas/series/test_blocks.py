"""Blocks of series: what is read equals what was written, whatever the devices and the order."""

from hypothesis import given
from hypothesis import strategies as st
from readings import realistic_hour

from schemas.fleet.history import HOUR, Summary
from schemas.series.frame import PLACES_MAX
from schemas.series.sample_block import SeriesSample, make_block, read_block, write_block
from schemas.series.summary_block import (
    join_summaries,
    merge_summaries,
    read_summaries,
    sum_up_block,
    write_summaries,
)

START = 1_700_000_000_000 // HOUR * HOUR
NUMBERS = st.one_of(st.none(), st.integers(-(2**53), 2**53), st.floats(-1e300, 1e300), st.integers(0, 1000).map(float))
READINGS = st.dictionaries(
    st.sampled_from(["disk_used_percent", "network_received_bytes", "t"]),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), NUMBERS, min_size=1, max_size=4),
    max_size=3,
)
SAMPLES = st.lists(
    st.builds(SeriesSample, st.integers(START, START + HOUR - 1), st.integers(1, 3), st.integers(1, 2**53), READINGS),
    max_size=12,
    unique_by=lambda sample: sample.key,
)


def plain(samples: list[SeriesSample]) -> list[SeriesSample]:
    """The samples in order of time, without readings that are null."""
    found = []
    for sample in sorted(samples, key=lambda sample: (sample.at, sample.key)):
        readings = {
            metric: {device: number for device, number in devices.items() if number is not None}
            for metric, devices in sample.readings.items()
        }
        found.append(sample._replace(readings={metric: devices for metric, devices in readings.items() if devices}))
    return found


@given(SAMPLES)
def test_what_is_read_equals_what_was_written(samples: list[SeriesSample]) -> None:
    assert list(read_block(write_block(make_block(samples))).samples()) == plain(samples)


@given(SAMPLES, st.randoms())
def test_merging_again_and_in_any_order_changes_nothing(samples: list[SeriesSample], chance: object) -> None:
    shuffled = [*samples, *samples[:3]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    first = write_block(make_block(shuffled[: len(shuffled) // 2]))
    merged = make_block([*read_block(first).samples(), *shuffled[len(shuffled) // 2 :]])
    assert list(merged.samples()) == plain(samples)


@given(SAMPLES)
def test_columns_can_be_read_alone(samples: list[SeriesSample]) -> None:
    data = write_block(make_block(samples))
    whole, part = read_block(data), read_block(data, ["t"])
    assert part.times == whole.times
    assert part.columns == {place: column for place, column in whole.columns.items() if place[0] == "t"}


@given(SAMPLES)
def test_roll_ups_are_those_of_the_readings(samples: list[SeriesSample]) -> None:
    summaries = sum_up_block(make_block(samples))
    found = read_summaries(write_summaries({START: summaries}))[START]
    assert found.keys() == summaries.keys()
    for place, summary in summaries.items():
        assert (found[place].number, found[place].minimum, found[place].maximum) == (
            summary.number,
            summary.minimum,
            summary.maximum,
        )
        assert summary.minimum <= found[place].average <= summary.maximum
        assert abs(found[place].average - summary.average) <= abs(summary.average) * 1e-4


def test_roll_ups_of_parts_are_merged_and_those_of_a_day_joined() -> None:
    place = ("disk_used_percent", "/data")
    early, late = {place: Summary(2, 10.0, 20.0, 30.0)}, {place: Summary(1, 50.0, 50.0, 50.0)}
    assert merge_summaries(early, late) == {place: Summary(3, 10.0, 30.0, 50.0)}
    day = join_summaries([{START: early, START + HOUR: early}, {START + HOUR: late}])
    assert read_summaries(write_summaries(day)) == {START: early, START + HOUR: late}


def test_a_machine_that_makes_up_names_fills_no_block() -> None:
    samples = [SeriesSample(START + seq, 1, seq, {"t": {f"{seq}-{n}": 1.0 for n in range(64)}}) for seq in range(100)]
    block = make_block(samples)
    assert (len(block.columns), block.left_out) == (PLACES_MAX, 100 * 64 - PLACES_MAX)


def test_an_hour_of_sixty_readings_a_minute_takes_at_most_three_bytes_a_reading() -> None:
    block = make_block(realistic_hour(START))
    readings = sum(len(column) for column in block.columns.values())
    size, summaries = len(write_block(block)), len(write_summaries({START: sum_up_block(block)}))
    print(f"{readings} readings, {size / readings:.2f} bytes each, and {summaries} bytes of roll-up")
    assert readings == 3600
    assert size + summaries <= 3 * readings
