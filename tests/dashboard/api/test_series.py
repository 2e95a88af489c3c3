"""The readings of devices over HTTP: samples and hours, gauges and counters, and the bounds of an answer."""

import pytest
from http_api import HttpApi, bearer
from seeding import NOW, Fleet
from series import SeriesKeeper, with_series

from dashboard.api.resources import series
from schemas.fleet.history import HOUR, MINUTE

DISK, RECEIVED = "disk_used_percent", "network_received_bytes"
INFO = {"metrics": [{"name": RECEIVED, "location": "series", "kind": "counter"}, {"name": DISK, "location": "series"}]}
RANGE = {"from": NOW - HOUR, "to": NOW}


@pytest.fixture
def attic(fleet: Fleet) -> int:
    """A machine with an hour of readings."""
    key = fleet.machine("attic", info=INFO)
    fleet.series_of(key, [{DISK: {"/": 40.0, "/data": n / 2}, RECEIVED: {"eth0": 100.0 * n}} for n in range(60)])
    return key


def test_series_has_the_points_of_each_device_and_only_the_metrics_asked_for(api: HttpApi, attic: int) -> None:  # noqa: ARG001
    found = api.get("/machines/attic/series", RANGE, metric=[DISK, RECEIVED, "no_metric"], step=10 * MINUTE)
    assert (found["machine"], found["resolution"], found["step_milliseconds"]) == ("attic", "samples", 10 * MINUTE)
    assert {metric: list(devices) for metric, devices in found["series"].items()} == {
        DISK: ["/", "/data"],
        RECEIVED: ["eth0"],
        "no_metric": [],
    }
    data, received = found["series"][DISK]["/data"], found["series"][RECEIVED]["eth0"]
    assert len(data["at"]) == len(data["average"]) == len(received["maximum"]) <= 7
    assert data["at"][-1] == received["at"][-1] == NOW - MINUTE
    last = [n / 2 for n in range(60) if (NOW - (60 - n) * MINUTE) // (10 * MINUTE) == (NOW - MINUTE) // (10 * MINUTE)]
    assert (data["average"][-1], received["maximum"][-1]) == (sum(last) / len(last), 5900.0)
    assert (data["minimum"], data["maximum"], received["average"]) == (None, None, None)
    assert set(found["completeness"]) == {"samples", "expected", "stored", "late", "not_listening_seconds"}


def test_devices_can_be_chosen_and_the_range_excludes_its_end(api: HttpApi, attic: int) -> None:  # noqa: ARG001
    asked = {"from": NOW - 3 * MINUTE, "to": NOW - MINUTE, "metric": DISK, "device": ["/data", "none"]}
    found = api.get("/machines/attic/series", asked)["series"]
    assert found == {
        DISK: {
            "/data": {
                "at": [NOW - 3 * MINUTE, NOW - 2 * MINUTE],
                "average": [28.5, 29.0],
                "minimum": None,
                "maximum": None,
            }
        }
    }


def test_a_long_range_is_read_from_hours_with_the_lowest_and_highest_reading(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("attic", info=INFO)
    keeper, start = SeriesKeeper(fleet.engine), NOW // HOUR * HOUR - 30 * 24 * HOUR
    for minute in range(120):
        readings: dict[str, dict[str, float | None]] = {DISK: {"/": float(minute)}, RECEIVED: {"eth0": 100.0 * minute}}
        keeper.write(with_series(key, start + minute * MINUTE, minute + 1, readings))
    keeper.finish()
    found = api.get("/machines/attic/series", {"from": start, "to": NOW, "metric": [DISK, RECEIVED]})
    disk, received = found["series"][DISK]["/"], found["series"][RECEIVED]["eth0"]
    assert found["resolution"] == "hours"
    assert (disk["at"], disk["average"]) == ([start, start + HOUR], [29.5, 89.5])
    assert (disk["minimum"], disk["maximum"]) == ([0, 60], [59, 119])
    assert (received["average"], received["minimum"], received["maximum"]) == (None, None, [5900, 11900])
    fewer = api.get("/machines/attic/series", {"from": start, "to": NOW, "metric": DISK}, points=1)
    assert len(fewer["series"][DISK]["/"]["at"]) <= 2


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "metric"),
        ("?" + "&".join(f"metric=m{n}" for n in range(9)), "metric"),
        (f"?metric={DISK}&device=", "device"),
        (f"?metric={DISK}&resolution=minutes", "resolution"),
        (f"?metric={DISK}&from=5&to=5", "from"),
    ],
)
def test_a_wrong_parameter_is_named(api: HttpApi, attic: int, query: str, parameter: str) -> None:  # noqa: ARG001
    answer = api.client.get(f"/api/v1/machines/attic/series{query}", headers=bearer(api.token()))
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, parameter)


def test_an_answer_that_would_be_too_large_says_to_ask_for_less(
    api: HttpApi,
    attic: int,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series, "READINGS_MAX", 119)
    asked = f"/api/v1/machines/attic/series?metric={DISK}&from={NOW - HOUR}&to={NOW}"
    answer = api.client.get(asked, headers=bearer(api.token()))
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "points")
    assert "more than 119 readings" in answer.json()["detail"]
    assert api.client.get(f"{asked}&device=/", headers=bearer(api.token())).status_code == 200
