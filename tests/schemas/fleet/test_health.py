"""The health score, compared with the published formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract.org_config import Component, Thresholds
from schemas.fleet.health import Health, HealthStatus, health

PERCENT = st.floats(0, 100)
WORSE = [HealthStatus.OK, HealthStatus.WARN, HealthStatus.CRITICAL]


@pytest.mark.parametrize(
    ("cpu", "memory", "disk", "score", "status"),
    [
        (0, 0, 0, 100, "ok"),
        (50, 60, 70, 100, "ok"),
        (12.5, 48.3, 71.2, 99, "ok"),  # 35 + 35 + 30 * 28.8 / 30
        (74, 60, 70, 83, "ok"),  # 35 * 0.52 + 35 + 30
        (75, 60, 70, 82, "warn"),  # 35 * 0.5 + 35 + 30 = 82.5, to even; half a component
        (50, 79, 70, 83, "ok"),  # 35 * 0.525
        (50, 80, 70, 82, "warn"),
        (50, 60, 85, 85, "warn"),  # 30 * 0.5
        (50, 60, 84, 86, "ok"),
        (70, 75, 82, 61, "warn"),  # 35 * 0.6 + 35 * 0.625 + 30 * 0.6 = 60.875
        (95, 60, 70, 68, "critical"),  # 35 * 0.1 + 65 = 68.5, to even
        (94, 60, 70, 69, "warn"),
        (50, 96, 70, 68, "critical"),
        (50, 60, 97, 73, "critical"),
        (50, 60, 96, 74, "warn"),
        (100, 100, 100, 0, "critical"),
        (80, 80, 70, 62, "warn"),  # 35 * 0.4 + 35 * 0.5 + 30 = 61.5, to even
        (85, 80, 70, 58, "critical"),  # 35 * 0.3 + 17.5 + 30
    ],
)
def test_the_score_is_the_published_one(cpu: float, memory: float, disk: float, score: int, status: str) -> None:
    assert health(cpu, memory, disk) == Health(score, HealthStatus(status))


@pytest.mark.parametrize("missing", [(None, 1, 1), (1, None, 1), (1, 1, None), (None, None, None), (None, 100, 100)])
def test_what_was_not_measured_is_unknown(missing: tuple[float | None, float | None, float | None]) -> None:
    assert health(*missing) == Health(None, HealthStatus.UNKNOWN)


@given(cpu=PERCENT, memory=PERCENT, disk=PERCENT, more=PERCENT, which=st.integers(0, 2))
def test_using_more_never_makes_a_machine_healthier(
    cpu: float, memory: float, disk: float, more: float, which: int
) -> None:
    worse = [max(value, more) if i == which else value for i, value in enumerate((cpu, memory, disk))]
    first, second = health(cpu, memory, disk), health(worse[0], worse[1], worse[2])

    assert first.score is not None
    assert second.score is not None
    assert 0 <= second.score <= first.score <= 100
    assert WORSE.index(second.status) >= WORSE.index(first.status)


@given(knee=st.floats(0, 99), percent=PERCENT)
def test_one_exhausted_component_cannot_hide_behind_two_good_ones(knee: float, percent: float) -> None:
    component = Component(weight=0.01, knee_percent=knee)
    rest = Component(weight=0.495, knee_percent=99)
    worth = min(1.0, max(0.0, (100 - percent) / (100 - knee)))
    status = health(percent, 0, 0, Thresholds(cpu=component, memory=rest, disk=rest)).status

    if worth <= 0.1:
        assert status is HealthStatus.CRITICAL
    elif worth <= 0.5:
        assert status is HealthStatus.WARN
    else:
        assert status is HealthStatus.OK


def test_the_thresholds_are_the_organisations_own() -> None:
    strict = Thresholds(ok_score=100, warn_score=99)
    lenient = Thresholds(ok_score=0, warn_score=0, component_warn=0.0, component_critical=0.0)

    assert health(60, 0, 0).status is HealthStatus.OK
    assert health(60, 0, 0, strict).status is HealthStatus.CRITICAL
    assert health(99, 99, 99).status is HealthStatus.CRITICAL
    assert health(99, 99, 99, lenient).status is HealthStatus.OK
