"""What `dashfleet up` costs a machine while nobody looks: memory, processor time, bytes written, time to start.

`make bench` measures for five minutes at the default interval of 10 s, against the targets of docs/scale.md. Inside
`make test` a short time shows that no part loads a large library that it does not need: pandas alone has 76 MiB.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from servers import free_port

SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "5"))
LONG = 300
SETTLE_SECONDS = 15.0 if SECONDS >= LONG else 3.0
MOST_PSS_MIB = 220.0 if SECONDS >= LONG else 260.0
MOST_PERCENT_OF_A_CORE = 1.0
MOST_KIB_PER_MINUTE = 150.0
MOST_START_SECONDS = 3.5
PARTS = ("broker", "ingestor", "notifier", "agent", "dashboard")


@contextmanager
def running(data: Path) -> Iterator[tuple[psutil.Process, float]]:
    """Run `dashfleet up`; yield its process and the time that it took to print the address."""
    ports = ("--broker-port", str(free_port()), "--dashboard-port", str(free_port()))
    began = time.monotonic()
    argv = [sys.executable, "-m", "dashfleet", "up", "--data", str(data), *ports]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Open "):
                break
        else:
            raise AssertionError(said)
        yield psutil.Process(process.pid), time.monotonic() - began
    finally:
        process.terminate()
        process.communicate()


def named(process: psutil.Process) -> dict[str, psutil.Process]:
    """Return the processes by the part that `ps` shows them to be."""
    found = {child.cmdline()[1]: child for child in process.children() if child.cmdline()[0] == "dashfleet"}
    return {"up": process, **found}


def pss_mib(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / (1 << 20)


def processor_seconds(process: psutil.Process) -> float:
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def test_the_server_stays_within_its_footprint(tmp_path: Path) -> None:
    with running(tmp_path) as (up, start_seconds):
        time.sleep(SETTLE_SECONDS)
        parts = named(up)
        assert set(parts) == {"up", *PARTS}
        began = time.monotonic()
        before = {name: (processor_seconds(part), part.io_counters().write_bytes) for name, part in parts.items()}
        time.sleep(SECONDS)  # what is measured is this time
        seconds = time.monotonic() - began
        print(f"\n{'part':<10} {'PSS MiB':>8} {'CPU %':>6} {'KiB/min':>8}")
        totals = [0.0, 0.0, 0.0]
        for name, part in parts.items():
            spent, written = before[name]
            row = (
                pss_mib(part),
                100 * (processor_seconds(part) - spent) / seconds,
                (part.io_counters().write_bytes - written) / 1024 / seconds * 60,
            )
            totals = [total + value for total, value in zip(totals, row, strict=True)]
            print(f"{name:<10} {row[0]:>8.1f} {row[1]:>6.2f} {row[2]:>8.0f}")
        print(
            f"{'total':<10} {totals[0]:>8.1f} {totals[1]:>6.2f} {totals[2]:>8.0f}   first start {start_seconds:.2f} s"
        )
    assert totals[0] <= MOST_PSS_MIB
    if SECONDS >= LONG:  # on a busy machine, a short time would measure the others
        assert totals[1] <= MOST_PERCENT_OF_A_CORE
        assert totals[2] <= MOST_KIB_PER_MINUTE
        assert start_seconds <= MOST_START_SECONDS
