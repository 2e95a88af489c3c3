"""The effect of other health settings in words."""

from dashboard.settings.health_preview import effects
from schemas.fleet.health import HealthStatus

OK, WARN, CRITICAL = HealthStatus.OK, HealthStatus.WARN, HealthStatus.CRITICAL


def test_each_status_that_machines_would_get_is_named_the_worst_first() -> None:
    found = {(OK, OK): 50, (OK, WARN): 1, (OK, CRITICAL): 2, (WARN, CRITICAL): 1, (CRITICAL, OK): 4}
    assert effects(found) == (
        ["3 machines would become critical.", "1 machine would change to warning.", "4 machines would become OK."],
        "bad",
    )


def test_a_change_without_effect_says_so() -> None:
    assert effects({(OK, OK): 3}) == (["No machine would change its status now."], "good")
    assert effects({(CRITICAL, WARN): 1}) == (["1 machine would change to warning."], "fair")
