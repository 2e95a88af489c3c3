"""What a round of all collectors costs on a large machine: 3,000 processes, 200 mounts, 100 containers."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker_stub
import pytest
from clocks import Clock

import agent.collectors
from agent.collection.detail_runner import DetailRunner
from agent.collection.facts_publisher import FactsPublisher
from agent.collector import discover_details
from agent.host import mount_table, process_table
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import SERIES_READINGS_MAX

PROCESSES, MOUNTS, CONTAINERS = 3000, 200, 100
MOST_MILLISECONDS = 150.0
ROUNDS = 5


@pytest.fixture
def socket() -> Iterator[Path]:
    """The socket of an engine in another process, whose work is not the agent's."""
    with tempfile.TemporaryDirectory(prefix="d") as directory:
        path = Path(directory) / "docker.sock"
        argv = [sys.executable, docker_stub.__file__, str(path), str(CONTAINERS)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
            assert engine.stdout is not None
            assert engine.stdout.readline() == b"ready\n"
            yield path
            assert engine.stdin is not None
            engine.stdin.close()


@pytest.fixture
def large_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with many processes, one in ten of which works, and a table of many mounts."""
    proc = tmp_path / "proc"
    for pid in range(1, PROCESSES + 1):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "io").write_text("rchar: 9\nwchar: 9\nread_bytes: 4096\nwrite_bytes: 0\n")
    (proc / "self").symlink_to(proc / "1")
    work(proc, 0)
    lines = []
    for number in range(MOUNTS):
        (tmp_path / "mounts" / str(number)).mkdir(parents=True)
        lines.append(f"{number} 1 9:{number} / {tmp_path}/mounts/{number} rw,relatime - ext4 /dev/md{number} rw\n")
    (tmp_path / "mountinfo").write_text("".join(lines))
    monkeypatch.setattr(process_table, "PROC", proc)
    monkeypatch.setattr(mount_table, "MOUNTS_FILE", tmp_path / "mountinfo")
    return proc


def work(proc: Path, round_: int) -> None:
    for pid in range(1, PROCESSES + 1):
        if round_ == 0 or pid % 10 == 0:
            (proc / str(pid) / "stat").write_text(
                f"{pid} (worker) S 1 1 1 0 -1 4194560 100 0 0 0 {round_ * 5} 0 0 0 20 0 1 0 {pid} 1000000 2500 "
                f"18446744073709551615 {'0 ' * 28}\n"
            )


def test_a_round_on_a_large_machine_costs_little_processor_time(
    large_machine: Path, socket: Path, clock: Clock, tmp_path: Path
) -> None:
    settings = AgentSettings(
        data=tmp_path, machine="attic", container_sockets=[socket], collectors_off=["updates", "systemdservices"]
    )
    publisher = FactsPublisher(tmp_path / "facts.json", clock)
    runner = DetailRunner(
        discover_details(agent.collectors, settings), settings, clock, publisher, start=lambda work: work()
    )
    runner.off = frozenset(settings.collectors_off)
    spent, due_at = [], clock.monotonic()
    for round_ in range(ROUNDS):
        work(large_machine, round_ + 1)
        clock.advance(60)
        due_at += 60
        before = time.process_time()
        runner.step(due_at)
        series = runner.take()
        runner.publish_facts(1, lambda _kind, _payload: True)
        spent.append(1000 * (time.process_time() - before))
    readings = sum(map(len, series.values()))
    print(f"\nmilliseconds of {ROUNDS} rounds: {', '.join(f'{each:.0f}' for each in spent)}; {readings} readings")

    assert runner.failures == {}
    assert readings <= SERIES_READINGS_MAX
    assert {"mounts", "topprocesses", "containers"} <= set(runner.names)
    assert runner.truncated["mounts"] == MOUNTS - 64
    assert runner.truncated["containers"] == CONTAINERS - 64
    assert min(spent[1:]) <= MOST_MILLISECONDS
