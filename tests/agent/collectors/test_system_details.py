"""Interfaces and cores, from files of real machines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.collectors.system import cores, interfaces
from agent.collectors.system.cores import Cores
from agent.collectors.system.interfaces import Interfaces
from runtime.settings.agent import AgentSettings

DOCKER_HOST = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 442162798714 30480569    0    0    0     0          0         0 442162798714 30480569    0    0    0     0       0          0
  eth0: 2917263683  257825    1    2    0     0          0         0 21456774  228821    3    4    0     0       0          0
docker0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
br-8a5f0: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0
veth12ab@if4: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0
   br0: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0
eth0.7: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0
   wg0: 11 1 0 0 0 0 0 0 12 1 0 0 0 0 0 0
 sit0:   0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
broken: 1 2 x
"""  # noqa: E501 - as the kernel writes it


def settings(**fields: object) -> AgentSettings:
    return AgentSettings.model_validate({"data": Path("unused"), "machine": "attic", **fields})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Interfaces of a Docker host."""
    (tmp_path / "dev").write_text(DOCKER_HOST)
    for name, state, speed in (("eth0", "up", "1000"), ("br0", "down", "-1"), ("wg0", "unknown", "")):
        (tmp_path / "net" / name).mkdir(parents=True)
        (tmp_path / "net" / name / "operstate").write_text(f"{state}\n")
        (tmp_path / "net" / name / "speed").write_text(f"{speed}\n")
    monkeypatch.setattr(interfaces, "COUNTERS_FILE", tmp_path / "dev")
    monkeypatch.setattr(interfaces, "INTERFACES", tmp_path / "net")
    return tmp_path


@pytest.mark.usefixtures("host")
def test_interfaces_of_containers_and_loopback_are_left_out() -> None:
    series = Interfaces(settings()).collect().series

    assert series["network_received_bytes"] == {"eth0": 2917263683, "wg0": 11, "eth0.7": 9, "br0": 7}
    assert series["network_sent_bytes"] == {"eth0": 21456774, "wg0": 12, "eth0.7": 9, "br0": 8}
    assert series["network_error_count"]["eth0"] == 4
    assert series["network_drop_count"]["eth0"] == 6


@pytest.mark.usefixtures("host")
def test_the_state_of_a_link_is_in_the_facts() -> None:
    details = Interfaces(settings()).collect()

    assert details.facts["interfaces"]["eth0"].fields == {"state": "up", "speed_megabits": 1000}
    assert details.facts["interfaces"]["br0"].fields == {"state": "down"}


@pytest.mark.usefixtures("host")
def test_the_owner_can_ask_for_interfaces_and_leave_some_out() -> None:
    series = Interfaces(settings(interfaces=["docker0", "!eth0.*", "lo"])).collect().series

    assert set(series["network_received_bytes"]) == {"lo", "eth0", "wg0", "br0", "docker0"}


def test_interfaces_that_vanish_cost_their_own_values(host: Path) -> None:
    collector = Interfaces(settings())
    collector.collect()
    (host / "dev").write_text("".join(DOCKER_HOST.splitlines(keepends=True)[:4]))
    (host / "net" / "eth0" / "operstate").unlink()

    assert collector.collect().series == {
        "network_received_bytes": {"eth0": 2917263683},
        "network_sent_bytes": {"eth0": 21456774},
        "network_error_count": {"eth0": 4},
        "network_drop_count": {"eth0": 6},
    }


@pytest.fixture
def statistics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sets /proc/stat to these ticks of user time, idle time and waiting, by core."""
    file = tmp_path / "stat"
    monkeypatch.setattr(cores, "STATISTICS_FILE", file)

    def write(**ticks: tuple[int, int, int]) -> None:
        lines = [f"{name} {user} 0 0 {idle} {wait} 0 0 0 {user} 0" for name, (user, idle, wait) in ticks.items()]
        file.write_text("\n".join(["cpu  1 1 1 1 1 0 0 0 0 0", *lines, "intr 7 8 9", "ctxt 12"]) + "\n")

    return write


def test_the_load_of_a_core_is_the_share_of_time_in_which_it_was_neither_idle_nor_waiting(
    statistics: Callable[..., None],
) -> None:
    collector = Cores(settings())
    statistics(cpu0=(100, 100, 0), cpu1=(100, 100, 0), cpu3=(0, 0, 0))
    assert collector.collect().series == {}
    statistics(cpu0=(200, 400, 0), cpu1=(100, 150, 50), cpu3=(1, 1, 0), cpu4=(9, 9, 9))

    assert collector.collect().series == {"cpu_core_percent": {"0": 25.0, "1": 0.0}}


def test_a_core_that_comes_back_with_lower_counters_has_no_negative_load(statistics: Callable[..., None]) -> None:
    collector = Cores(settings())
    statistics(cpu0=(100, 900, 0), cpu1=(5, 900, 0))
    collector.collect()
    statistics(cpu0=(150, 850, 50), cpu1=(1, 2, 0))

    assert collector.collect().series == {"cpu_core_percent": {"0": 100.0}}
