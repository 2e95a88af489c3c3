"""Containers of an engine that answers, hangs, lies and vanishes."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_stub import DockerStub, docker_stub

from agent.collectors.programs import containers as module
from agent.collectors.programs.containers import Containers
from agent.host import container_engine
from agent.host.calls import unix_http
from agent.host.calls.unix_http import HttpError, get_json
from runtime.settings.agent import AgentSettings


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="d") as directory:
        yield Path(directory) / "docker.sock"


@pytest.fixture
def docker(socket: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerStub]:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    with docker_stub(socket) as stub:
        yield stub


def collector_of(*sockets: Path, **settings: object) -> Containers:
    fields = {"data": Path("unused"), "machine": "attic", "container_sockets": list(sockets), **settings}
    return Containers(AgentSettings.model_validate(fields))


def test_each_container_has_its_state_and_those_that_run_have_readings(docker: DockerStub, socket: Path) -> None:
    docker.put("web", status="Up 2 hours (healthy)", restarts=3)
    docker.put("db")
    docker.put("job", state="exited", status="Exited (0) 3 hours ago")
    docker.put("crashed", state="exited", status="Exited (137) 3 hours ago")
    docker.put("sick", status="Up 5 minutes (unhealthy)")
    docker.put("young", status="Up 3 minutes (health: starting)")
    docker.put("loop", state="restarting", status="Restarting (1) 4 seconds ago", restarts=77)
    collector = collector_of(socket)
    assert collector.present()
    collector.collect()
    docker.seconds += 60
    docker.spend("web", cpu_seconds=60.0, mib=300, received=5_000_000_000, sent=7)
    details = collector.collect()

    assert details.series["container_cpu_percent"] == {"web": 25.0, "db": 0.0, "sick": 0.0, "young": 0.0}
    assert details.series["container_memory_bytes"]["web"] == 300 << 20
    assert details.series["container_received_bytes"]["web"] == 5_000_000_000
    assert details.series["container_sent_bytes"]["web"] == 7
    facts = details.facts["containers"]
    assert {name: item.health for name, item in facts.items()} == {
        "loop": "critical", "sick": "critical", "young": "unknown", "crashed": "fair", "job": None,
        "db": "good", "web": "good",
    }  # fmt: skip
    assert list(facts) == ["loop", "sick", "young", "crashed", "job", "db", "web"]
    assert facts["web"].fields == {"state": "running", "health": "healthy", "image": "web:1", "restart_count": 3}
    assert facts["crashed"].fields["exit_code"] == 137
    assert facts["loop"].fields["restart_count"] == 77


def test_the_list_does_not_change_while_only_time_passes(docker: DockerStub, socket: Path) -> None:
    docker.put("web", status="Up 2 hours (healthy)")
    collector = collector_of(socket)
    before = collector.collect().facts
    docker.put("web", status="Up 3 hours (healthy)")

    assert collector.collect().facts == before


def test_a_container_is_inspected_when_it_changes_and_not_each_time(docker: DockerStub, socket: Path) -> None:
    docker.put("web")
    collector = collector_of(socket)
    for _ in range(3):
        collector.collect()
    inspected = [target for target in docker.requests if target.endswith("/json") and "web" in target]
    assert len(inspected) == 1
    docker.put("web", status="Up 1 second", restarts=1)

    assert collector.collect().facts["containers"]["web"].fields["restart_count"] == 1


def test_counters_that_go_backwards_after_a_restart_are_no_load(docker: DockerStub, socket: Path) -> None:
    docker.put("web")
    docker.spend("web", cpu_seconds=500.0)
    collector = collector_of(socket)
    collector.collect()
    docker.seconds += 60
    docker.spend("web", cpu_seconds=1.0)
    assert collector.collect().series["container_cpu_percent"] == {"web": None}
    docker.seconds += 60
    docker.spend("web", cpu_seconds=25.0)
    assert collector.collect().series["container_cpu_percent"] == {"web": 10.0}


def test_the_owner_can_leave_containers_out(docker: DockerStub, socket: Path) -> None:
    docker.put("web")
    docker.put("ci-build-4711")

    assert list(collector_of(socket, containers=["!ci-*"]).collect().facts["containers"]) == ["web"]


def test_an_engine_that_hangs_costs_a_bounded_time(
    docker: DockerStub, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_engine, "CALL_SECONDS", 0.1)
    docker.put("web")
    docker.hanging = ("/containers/json",)

    with pytest.raises(TimeoutError):
        collector_of(socket).collect()


def test_a_container_whose_statistics_hang_costs_its_own_readings(
    docker: DockerStub, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_engine, "CALL_SECONDS", 0.3)
    monkeypatch.setattr(module, "USE_SECONDS", 5.0)
    for number in range(20):
        docker.put(f"web{number}")
    docker.hanging = ("web7-",)

    details = collector_of(socket).collect()

    assert details.series["container_memory_bytes"].pop("web7") is None
    assert set(details.series["container_memory_bytes"].values()) == {100 << 20}
    assert "restart_count" not in details.facts["containers"]["web7"].fields


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"7", b"[7]", b'[{"Id": 7}]', b'[{"Id": "a", "State": "x", "Names": 7}]'],
)
def test_an_engine_that_answers_nonsense_costs_only_containers(
    docker: DockerStub, socket: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "answer", lambda _target: answer)
    collector = collector_of(socket)
    if answer in (b"", b"<html>"):
        with pytest.raises(HttpError, match="not JSON"):
            collector.collect()
    else:
        assert set(collector.collect().facts["containers"]) <= {"a"}


def test_an_answer_without_end_is_cut(docker: DockerStub, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_http, "ANSWER_MAX_BYTES", 1000)
    monkeypatch.setattr(docker, "answer", lambda _target: b"x" * 5000)

    with pytest.raises(HttpError, match="too long"):
        get_json(str(socket), "/version", seconds=5)


def test_an_engine_that_is_gone_costs_no_other(docker: DockerStub, socket: Path) -> None:
    docker.put("web")
    missing = socket.with_name("missing.sock")
    second = socket.with_name("second.sock")
    with docker_stub(second) as podman:
        podman.put("pod")
        collector = collector_of(socket, missing, second)
        assert set(collector.collect().facts["containers"]) == {"web", "pod"}
    assert set(collector.collect().facts["containers"]) == {"web"}
    assert not collector_of(missing).present()


def test_a_link_to_the_same_socket_is_the_same_engine(docker: DockerStub, socket: Path) -> None:
    docker.put("web")
    (link := socket.with_name("link.sock")).symlink_to(socket)

    collector_of(socket, link).collect()

    assert docker.requests.count("/containers/json?all=1") == 1
