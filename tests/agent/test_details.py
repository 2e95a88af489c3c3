"""Series and facts of an agent: in its samples, its inventory and on their topics."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock

from agent.collection.facts_publisher import FACTS_SECONDS
from agent.collector import DetailCollector, Details, Item
from schemas.contract.messages import DEVICES_MAX, Metric, Telemetry


class Mounted(DetailCollector):
    metrics = (Metric(name="disk_used_percent", unit="percent", title="Disk", location="series", device="mount"),)
    facts = ("mounts",)
    state = "good"
    count = 2
    is_present = True

    def present(self) -> bool:
        return self.is_present

    def collect(self) -> Details:
        names = [f"/{number}" for number in range(self.count)]
        return Details(
            {"disk_used_percent": dict.fromkeys(names, 50.5)},
            {"mounts": {name: Item({"state": self.state}) for name in names}},
        )


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[AgentUnderTest]:
    found = AgentUnderTest(tmp_path, clock)
    found.kill()
    found.mounted = Mounted(found.settings)  # type: ignore[attr-defined]
    found.detail_collectors = [found.mounted]  # type: ignore[attr-defined]
    found.forget()
    found.start()
    yield found
    found.kill()


def with_series(samples: list[Telemetry]) -> list[Telemetry]:
    return [sample for sample in samples if sample.series]


def test_one_sample_of_each_minute_has_series_and_the_others_are_as_before(machine: AgentUnderTest) -> None:
    machine.run(600)

    samples = machine.samples
    found = with_series(samples)
    assert len(samples) in (60, 61)
    assert 10 <= len(found) <= 12  # and the second of all
    assert found[-1].series == {"disk_used_percent": {"/0": 50.5, "/1": 50.5}}
    bare = [sample for sample in samples if not sample.series]
    assert all(b"series" not in sample.encode() for sample in bare)


def test_the_inventory_describes_series_once_they_are_there(machine: AgentUnderTest) -> None:
    machine.run(5)

    info = machine.infos[-1]
    assert [metric.name for metric in info.metrics] == ["warmth", "load_1m", "disk_used_percent"]
    assert info.metrics[-1].location == "series"
    assert info.collectors == ("warmth", "load", "mounted")
    assert (info.detail_interval_seconds, info.truncated) == (60, {})

    machine.mounted.is_present = False  # type: ignore[attr-defined]
    machine.run(70)
    assert machine.infos[-1].detail_interval_seconds is None
    assert machine.infos[-1].collectors == ("warmth", "load")


def test_devices_that_are_left_out_are_in_the_inventory(machine: AgentUnderTest) -> None:
    machine.mounted.count = DEVICES_MAX + 6  # type: ignore[attr-defined]
    machine.run(70)

    assert machine.infos[-1].truncated == {"mounted": 6}
    before = len(machine.infos)
    machine.mounted.count += 1  # type: ignore[attr-defined]
    machine.run(70)
    assert len(machine.infos) == before


def test_long_series_are_compressed_unless_the_owner_switches_that_off(machine: AgentUnderTest) -> None:
    machine.mounted.count = DEVICES_MAX  # type: ignore[attr-defined]
    machine.run(70)
    compressed = with_series(machine.samples)[-1].series
    assert any(b"series_gzip" in message.payload for message in machine.heard)

    machine.kill()
    machine.forget()
    machine.start(compress_series=False)
    machine.run(70)
    assert with_series(machine.samples)[-1].series == compressed
    assert any(b'"series":' in message.payload for message in machine.heard)
    assert not any(b"series_gzip" in message.payload for message in machine.heard)


def test_facts_are_published_when_they_change_and_cleared_when_their_collector_is_off(machine: AgentUnderTest) -> None:
    machine.run(200)
    assert len(machine.facts("mounts")) == 1
    machine.mounted.state = "full"  # type: ignore[attr-defined]
    machine.run(70)
    newest = machine.facts("mounts")[-1]
    assert newest is not None
    assert newest.items["/0"].fields == {"state": "full"}

    machine.mounted.is_present = False  # type: ignore[attr-defined]
    machine.run(70)
    assert machine.facts("mounts")[-1] is None
    assert len(machine.facts("mounts")) == 3


def test_facts_come_again_with_the_next_connection(machine: AgentUnderTest) -> None:
    machine.run(FACTS_SECONDS + 1)
    machine.transport.cut()
    machine.run(5)

    assert len(machine.facts("mounts")) == 2


def test_a_collector_that_the_owner_has_switched_off_is_never_called(machine: AgentUnderTest) -> None:
    machine.kill()
    machine.forget()
    machine.start(collectors_off=["mounted", "warmth"])
    machine.run(130)

    assert with_series(machine.samples) == []
    assert machine.infos[-1].collectors == ("load",)
    assert machine.infos[-1].collectors_off == ("mounted", "warmth")
    assert "warmth" not in machine.samples[-1].extra
    assert machine.facts("mounts") == [None]
