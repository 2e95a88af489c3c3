"""The stored values of a rule about devices, of many machines over some days.

Invariants:
- Of gauges, only the hours in which the condition may have been fulfilled are read from blocks, and the last ones.
- At most HOURS_MAX hours are read from blocks. In memory are their values, and the readings of one day of a machine.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Engine

from schemas.alerts.condition import Condition
from schemas.alerts.device_readings import SERIES_HOLD, worst_device
from schemas.alerts.readings import EarlierSamples, SamplePoint, measure
from schemas.contract.messages import Vitals
from schemas.database.series.stored_series import each_roll_up, each_sample
from schemas.fleet.history import HOUR, Summary
from schemas.series.frame import Place
from schemas.series.sample_block import SeriesSample

HOURS_MAX: Final = 5_000
_RECENT: Final = 2
"""Hours that may have no roll-up yet."""

DevicePoints = list[tuple[int, float | None, str]]
"""Times, values and the devices that they are of."""

_NO_VITALS: Final = Vitals()


def read_device_points(
    engine: Engine, condition: Condition, machine_keys: Sequence[int], start: int, now: int
) -> tuple[dict[int, DevicePoints], bool]:
    """Return the values after `start` by machine key, and whether all were read."""
    metrics, left = [condition.rule.metric], HOURS_MAX
    found: dict[int, DevicePoints] = {}
    for key in machine_keys:
        roll_ups = each_roll_up(engine, key, start=start, end=now, metrics=metrics)
        hours = {at for at, summaries in roll_ups if _may_hold(condition, summaries.items())}
        hours |= {now // HOUR * HOUR - HOUR * number for number in range(_RECENT)}
        left -= len(hours)
        if left < 0:
            return found, False
        samples = (
            sample
            for first, last in _spans(sorted(hours), condition)
            for sample in each_sample(engine, key, start=max(first, start), end=last, metrics=metrics)
        )
        found[key] = list(_points(condition, samples))
    return found, True


def _may_hold(condition: Condition, summaries: Iterable[tuple[Place, Summary]]) -> bool:
    rule = condition.rule
    if rule.kind.startswith("rate-"):
        return any(summary.maximum > summary.minimum for _, summary in summaries)
    extremes = {device: each.minimum if rule.is_lower else each.maximum for (_, device), each in summaries}
    worst = worst_device(rule, {rule.metric: extremes})
    return bool(condition.verdict(worst.value, active=False) or condition.verdict(worst.value, active=True))


def _spans(hours: Sequence[int], condition: Condition) -> Iterator[tuple[int, int]]:
    """Yield the times to read: these hours, with what decides before and after; none overlap."""
    before, after = condition.for_ + SERIES_HOLD, condition.clear + SERIES_HOLD
    begin = end = None
    for at in hours:
        if begin is not None and end is not None and at - before <= end:
            end = at + HOUR + after
            continue
        if begin is not None and end is not None:
            yield begin, end
        begin, end = at - before, at + HOUR + after
    if begin is not None and end is not None:
        yield begin, end


def _points(condition: Condition, samples: Iterable[SeriesSample]) -> Iterator[tuple[int, float | None, str]]:
    earlier = EarlierSamples()
    for sample in samples:
        point = SamplePoint(sample.at, _NO_VITALS, {}, 0, sample.readings)
        measured = measure(condition.rule, point, earlier, SERIES_HOLD)
        earlier.add(point)
        if measured is not None:
            yield sample.at, measured.value, measured.device
