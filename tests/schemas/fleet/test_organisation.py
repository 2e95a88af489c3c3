"""The settings of an organisation and their bounds."""

import math
import re

import pytest

from schemas.contract.org_config import OrgConfig
from schemas.fleet.history import Retention
from schemas.fleet.organisation import SETTINGS, apply_changes, describe_differences, read_config, read_values

DEFAULTS = (OrgConfig(), Retention())


def test_every_field_that_people_set_is_a_setting_once() -> None:
    paths = {(setting.kept, *setting.path) for setting in SETTINGS.values()}
    thresholds = OrgConfig().thresholds.model_dump()
    inner = {
        (False, "thresholds", name, *rest)
        for name, value in thresholds.items()
        for rest in ([(key,) for key in value] if isinstance(value, dict) else [()])
    }
    own = {(False, name) for name in OrgConfig.model_fields} - {
        (False, name) for name in ("v", "thresholds", "reconnect_spread_seconds", "key_changes")
    }
    assert paths == own | inner | {(True, name) for name in Retention.model_fields}
    assert len(paths) == len(SETTINGS)


def test_what_is_set_is_read_again_and_the_rest_stays() -> None:
    changes = {"time_to_live_seconds": 3600.0, "cpu_knee_percent": 65, "keep_samples_seconds": 7200.0}
    after = read_values(*apply_changes(*DEFAULTS, changes))
    assert after == {**read_values(*DEFAULTS), **changes}
    assert describe_differences(read_values(*DEFAULTS), after) == (
        "time_to_live_seconds 1 d → 1 h, cpu_knee_percent 50 % → 65 %, keep_samples_seconds 2 d → 2 h"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"time_to_live_seconds": 59}, "time_to_live_seconds must be at least 60"),
        ({"time_to_live_seconds": 60.5}, "time_to_live_seconds must be a whole number"),
        ({"time_to_live_seconds": math.nan}, "time_to_live_seconds must be a whole number"),
        ({"stale_intervals": math.inf}, "stale_intervals must be a number"),
        ({"cpu_weight": 0.5}, "the weights of cpu, memory and disk must sum to 1"),
        ({"cpu_knee_percent": 100}, "cpu_knee_percent must be less than 100"),
        ({"keep_samples_seconds": 60}, "keep_samples_seconds must be at least 3600"),
        ({"stale_seconds": 200}, "stale_seconds may not be more than offline_seconds"),
        ({"warn_score": 90}, "warn_score may not be more than ok_score"),
        ({"keep_minutes_seconds": 3600}, "keep_samples_seconds may not be more than keep_minutes_seconds"),
        ({"reconnect_spread_seconds": 1}, "there is no setting reconnect_spread_seconds"),
        ({"key_changes": 1}, "there is no setting key_changes"),
    ],
)
def test_what_cannot_be_is_one_sentence(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        apply_changes(*DEFAULTS, changes)


def test_what_was_wrong_before_does_not_stand_in_the_way_of_something_else() -> None:
    odd = (OrgConfig(stale_seconds=500, offline_seconds=100), Retention())
    assert apply_changes(*odd, {"time_to_live_seconds": 3600})[0].time_to_live_seconds == 3600


def test_what_is_stored_and_cannot_be_read_counts_as_the_defaults() -> None:
    assert read_config({"time_to_live_seconds": "soon"}) == OrgConfig()
    assert read_config(None) == OrgConfig()
