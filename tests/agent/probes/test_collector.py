"""The collector of probes: lists and series, and probes that an operator adds within the owner's allow-list."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock
from servers import free_port

from agent.collectors.programs.probes import Probes
from runtime.settings.agent import AgentSettings
from runtime.settings.probe import RequestedProbe
from schemas.contract.commands import Result


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which connections are accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def settings(directory: Path, **given: Any) -> AgentSettings:  # noqa: ANN401
    return AgentSettings.model_validate({"data": directory, "machine": "attic", **given})


def test_targets_are_facts_and_series_the_worst_first(tmp_path: Path, port: int) -> None:
    closed, opened = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{port}"
    probes = {"web": {"target": opened}, "gone": {"target": closed, "failures": 1}}
    collector = Probes(settings(tmp_path, probes=probes))
    assert collector.present()
    assert not Probes(settings(tmp_path)).present()

    details = collector.collect()  # the first reading waits: a restart of the agent is no change

    shown = {target: (item.health, item.fields) for target, item in details.facts["probes"].items()}
    assert list(shown) == [closed, opened]
    assert shown[closed] == ("critical", {"name": "gone", "reachable": False, "output": "connection refused"})
    assert shown[opened] == ("good", {"name": "web", "reachable": True, "output": "connected"})
    assert details.series["probe_reachable"] == {closed: 0, opened: 1}
    assert details.series["probe_seconds"][closed] is None
    assert 0 <= (details.series["probe_seconds"][opened] or 0) < 10
    assert set(details.series) <= {metric.name for metric in Probes.metrics}


def test_a_probe_that_has_no_outcome_yet_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.collectors.programs.probes.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("agent.probes.running.attempt", lambda *_: pytest.fail("it is never started"))
    monkeypatch.setattr("agent.host.calls.job_schedule.JobSchedule._in_thread", lambda *_: None)
    (item,) = Probes(settings(tmp_path, probes={"a": {"target": "tcp://a:1"}})).collect().facts["probes"].values()
    assert (item.health, item.fields["output"]) == ("unknown", "has not ended yet")


def test_other_probes_are_followed_and_those_that_stay_keep_their_outcome(tmp_path: Path, port: int) -> None:
    first = settings(tmp_path, probes={"web": {"target": f"tcp://127.0.0.1:{port}", "interval_seconds": 3600}})
    collector = Probes(first)
    collector.collect()
    kept = collector._schedule.outcomes["web"]
    added = RequestedProbe(target=f"tcp://localhost:{port}")
    collector.settings = first.model_copy(update={"probes": {**first.probes, "other": added}})
    facts = collector.collect().facts["probes"]
    assert collector._schedule.outcomes["web"] is kept
    assert {target: item.health for target, item in facts.items()} == {
        f"tcp://localhost:{port}": "unknown",  # this machine, which the owner does not permit
        f"tcp://127.0.0.1:{port}": "good",
    }
    collector.settings = first
    assert list(collector.collect().facts["probes"]) == [f"tcp://127.0.0.1:{port}"]


def test_an_operator_adds_probes_within_the_allow_list_and_only_there(tmp_path: Path, clock: Clock, port: int) -> None:
    allowed = [f"tcp://127.0.0.1:{port}"]
    machine = AgentUnderTest(tmp_path, clock, probe_targets=allowed, detail_interval_seconds=20.0)
    machine.kill()
    machine.detail_collectors = [Probes(machine.settings)]
    machine.start()

    def configure(**arguments: Any) -> Result:  # noqa: ANN401
        clock.advance(0.001)  # no two orders are issued at the same time
        return machine.outcome(machine.operator.order("configure", arguments=arguments))

    refused = configure(probes={"x": "tcp://10.0.0.1:22"})
    assert (refused.state, refused.reason) == ("rejected", "arguments")
    assert "probe_targets" in refused.detail
    assert configure(probes={"x": allowed[0]}).state == "succeeded"
    machine.run(60)
    (listed,) = [each for each in machine.facts("probes") if each][-1:]
    assert listed.items[allowed[0]].health == "good"

    machine.kill()
    machine.detail_collectors = [Probes(machine.settings)]
    machine.forget()
    machine.start()
    machine.run(60)
    assert [each for each in machine.facts("probes") if each], "it is probed after a restart of the agent, too"
    assert configure().state == "succeeded"
    machine.run(60)
    assert machine.facts("probes")[-1] is None
    machine.kill()
