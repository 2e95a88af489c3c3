"""`docs/collectors.md` is what `make reference` writes, and every collector says what it needs and costs."""

from pathlib import Path

import collectors_reference
import pytest

import agent.collectors
from agent.collector import DetailCollector, discover, discover_details, name_of
from runtime.settings.agent import AgentSettings
from schemas.contract.topics import is_id

SETTINGS = AgentSettings(data=Path("unused"), machine="attic")
DETAILS = discover_details(agent.collectors, SETTINGS)


def test_the_reference_of_the_collectors_is_current() -> None:
    assert collectors_reference.reference() == collectors_reference.DOCUMENT.read_text(), "run `make reference`"


def test_every_collector_is_in_the_reference() -> None:
    text = collectors_reference.DOCUMENT.read_text()
    names = [*map(name_of, discover(agent.collectors, SETTINGS)), *map(name_of, DETAILS)]
    assert not [name for name in names if f"`{name}`" not in text]


@pytest.mark.parametrize("collector", DETAILS, ids=name_of)
def test_a_detail_collector_describes_itself(collector: DetailCollector) -> None:
    assert collector.needs
    assert collector.cost
    assert collector.metrics or collector.facts
    assert all(metric.device for metric in collector.metrics)
    assert all(map(is_id, collector.facts))
    assert collector.timeout_seconds <= 90


def test_a_metric_of_a_series_belongs_to_one_collector_and_a_kind_of_facts_to_one_on_each_system() -> None:
    metrics = [metric.name for collector in DETAILS for metric in collector.metrics]
    kinds = [kind for collector in DETAILS for kind in collector.facts if name_of(collector) != "windowsservices"]
    assert len(metrics) == len(set(metrics))
    assert len(kinds) == len(set(kinds))
