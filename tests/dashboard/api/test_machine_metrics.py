"""The metrics for Prometheus: read by its own parser, of one organisation, and only what is current."""

import pytest
from clocks import Clock
from http_api import HttpApi, bearer
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from seeding import NOW, Fleet

from dashboard.api.machine_metrics import FAMILIES, HELP, OPEN_ALERTS, PREFIX
from schemas.contract.messages import VITALS

PATH = "/metrics/machines"
HOSTILE = 'a"} 1\nevil{x="\\'


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def scrape(api: HttpApi, org: str = "home") -> dict[str, Metric]:
    """Return the families of a scrape by name; a counter's without its suffix."""
    answer = api.client.get(PATH, headers=bearer(api.token(org)))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(found: dict[str, Metric], name: str) -> dict[str, float]:
    return {sample.labels["machine"]: sample.value for sample in found[PREFIX + name].samples}


def test_every_vital_has_its_metric_with_help_type_and_the_labels_of_the_machine(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a", labels={"site": "paris", "rack-row": "7"}, network_sent_bytes=5000, swap_percent=None)
    fleet.alert(key, "cpu", NOW, severity="critical")
    fleet.alert(key, "disk", NOW - 9, ended_at=NOW)
    fleet.forecast(key, NOW + 5000)
    found = scrape(api)
    cpu = found["dashfleet_machine_cpu_percent"]
    assert (cpu.type, cpu.documentation) == ("gauge", HELP["cpu_percent"])
    (sample,) = cpu.samples
    assert sample.labels == {"org": "home", "machine": "a", "label_site": "paris", "label_rack_row": "7"}
    assert sample.value == 20.0
    sent = found["dashfleet_machine_network_sent_bytes"]
    assert (sent.type, sent.samples[0].name, sent.samples[0].value) == (
        "counter",
        "dashfleet_machine_network_sent_bytes_total",
        5000,
    )
    assert found["dashfleet_machine_swap_percent"].samples == []
    extra = {each.labels["metric"]: each.value for each in found["dashfleet_machine_extra"].samples}
    assert extra == {"fan_rpm": 1180.0, "queue_bytes": 52_000_000.0}
    alerts = {each.labels["severity"]: each.value for each in found[OPEN_ALERTS].samples}
    assert alerts == {"critical": 1, "warning": 0}
    assert found["dashfleet_machine_info"].samples[0].labels["hostname"] == "a"
    assert values(found, "disk_full_timestamp_seconds") == {"a": (NOW + 5000) / 1000}
    assert found["dashfleet_server_receiving"].samples[0].value == 1
    names = {family.name.removesuffix("_total") for family in FAMILIES} | {OPEN_ALERTS, "dashfleet_server_receiving"}
    assert set(found) == names
    assert set(HELP) == set(VITALS)


def test_stale_values_vanish_and_the_presence_stays(api: HttpApi, fleet: Fleet, clock: Clock) -> None:
    fleet.machine("well")
    fleet.machine("gone", presence="offline")
    fleet.machine("unsure", verified=False)
    fleet.machine("old", presence="retired")
    fleet.machine("never", stated=False)
    found = scrape(api)
    for name in ("cpu_percent", "uptime_seconds", "health_score"):
        assert set(values(found, name)) == {"well"}, name
    assert {each.labels["machine"] for each in found["dashfleet_machine_extra"].samples} == {"well"}
    assert values(found, "up") == {"well": 1, "gone": 0, "unsure": 0, "never": 0}
    presences = {each.labels["machine"]: each.labels["presence"] for each in found[f"{PREFIX}presence"].samples}
    assert presences == {"well": "online", "gone": "offline", "unsure": "online", "never": "unknown"}
    clock.advance(60)  # the ingestor is silent
    silent = scrape(api)
    assert values(silent, "cpu_percent") == {}
    assert set(values(silent, "up").values()) == {0}
    assert silent["dashfleet_server_receiving"].samples[0].value == 0


def test_no_text_of_a_machine_breaks_out_of_its_label(api: HttpApi, fleet: Fleet) -> None:
    fleet.machine("a", hostname=HOSTILE, os="\u202e\t{}", labels={"site": HOSTILE, 'x"} 1\n': "y"})
    found = scrape(api)
    labels = found["dashfleet_machine_info"].samples[0].labels
    assert (labels["hostname"], labels["label_site"], labels["os"]) == (HOSTILE, HOSTILE, "\u202e\t{}")
    assert not [name for name in found if "evil" in name]
    assert len(found["dashfleet_machine_up"].samples) == 1


def test_another_organisation_is_not_in_it_and_a_token_is_needed(api: HttpApi, fleet: Fleet) -> None:
    fleet.machine("ours")
    fleet.machine("theirs", org="other", labels={"site": "xyzzy"}, extra={"xyzzy": 1.0})
    ours = api.client.get(PATH, headers=bearer(api.token("home"))).text
    assert 'machine="ours"' in ours
    assert "theirs" not in ours
    assert "xyzzy" not in ours
    assert 'org="other"' in api.client.get(PATH, headers=bearer(api.token("other"))).text
    for headers in ({}, bearer("x")):
        assert api.client.get(PATH, headers=headers).status_code == 401
    assert api.client.post(PATH, headers=bearer(api.token())).status_code == 405
