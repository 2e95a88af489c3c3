"""The HTTP API over 10,000 machines, and a year of one machine: how long an answer takes, and how large it is.

A server on a port and a client that accepts compression, both in this process. Inside `make test` each is asked a few
times, and may take longer, since the tests share the machine; `make bench` asks more often.
"""

import gzip
import http.client
import json
import math
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

import pytest
import uvicorn
from bench.changing_fleet import seed
from http_api import HttpApi, bearer
from seeding import GIB, Fleet
from servers import free_port, listens
from sqlalchemy import insert
from waiting import wait_until

from dashboard.auth.auth_database import open_auth_database
from runtime.clock import SystemClock
from runtime.urls import sqlite_url
from schemas.contract.messages import VITALS
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.fleet.history import DAY, HOUR, Summary
from schemas.series.summary_block import write_summaries

WHOLE = "DASHFLEET_BENCH_SECONDS" in os.environ
MACHINES = 10_000
ROUNDS = 15 if WHOLE else 3
BUSY = 1 if WHOLE else 6
YEAR = 365 * 24 * HOUR
DEVICES: Final = {"disk_used_percent": 8} | (
    {
        "cpu_core_percent": 16,
        "network_received_bytes": 6,
        "sensor_celsius": 10,
        "container_cpu_percent": 20,
    }
    if WHOLE
    else {}
)
"""Metrics of series with their numbers of devices: 60 readings a minute."""

YEAR_SECONDS, LIST_SECONDS, LIST_BYTES = 0.15, 1.0, 3_000_000
DEVICE_SECONDS = 0.04
"""Processor time that a year of one device may take, with its 8,760 hours."""


@dataclass
class Served:
    """A running API, and the answers of a program with a token."""

    port: int
    token: str

    def ask(self, path: str) -> tuple[float, int, Any]:
        """Return the seconds that an answer took, its bytes on the wire, and its JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        started = time.perf_counter()
        connection.request("GET", f"/api/v1{path}", headers={**bearer(self.token), "accept-encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - started
        connection.close()
        assert answer.status == 200
        plain = gzip.decompress(body) if answer.headers["content-encoding"] == "gzip" else body
        return took, len(body), json.loads(plain)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("large")
    writer, accounts = (
        open_engine(sqlite_url(directory / "fleet.db")),
        open_auth_database(sqlite_url(directory / "a.db")),
    )
    upgrade(writer)
    fleet = seed(writer, MACHINES, trend_minutes=0)
    a_year(fleet, fleet.machine("a-year"))
    writer.dispose()
    engine = open_engine(sqlite_url(directory / "fleet.db"), read_only=True)
    api = HttpApi.over(engine, accounts, SystemClock())
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(api.app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = Thread(target=running.run)
    thread.start()
    wait_until(lambda: listens(port), what="the API")
    yield Served(port, api.token())
    running.should_exit = True
    thread.join()
    engine.dispose()
    accounts.dispose()


def a_year(fleet: Fleet, machine: int) -> None:
    """Insert an hour for each hour of a year, with every vital."""
    rows = []
    start = fleet.now // HOUR * HOUR - YEAR
    for number in range(365 * 24 + 1):
        row: dict[str, Any] = {"machine_id": machine, "at": start + number * HOUR, "samples": 360}
        for place, name in enumerate(VITALS):
            value = 50 + 30 * math.sin(number / 9 + place)
            value = int(value * GIB) if name.endswith(("_bytes", "_seconds", "_count")) else value
            row |= {f"{name}_count": 360, f"{name}_min": value, f"{name}_avg": value, f"{name}_max": value}
        rows.append({**row, "extra": {"fan_rpm": [360, 900.0, 1100.0, 1500.0]}})
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.hour), rows)
        connection.execute(insert(tables.series_rollup), list(days_of_series(machine, start)))


def days_of_series(machine: int, start: int) -> Iterator[dict[str, Any]]:
    """Yield the roll-ups of a year of DEVICES, as the ingestor leaves them: a block for each day."""
    places = [(metric, f"device {number}") for metric, count in DEVICES.items() for number in range(count)]
    for day in range(start // DAY * DAY, start + YEAR, DAY):
        hours: dict[int, dict[tuple[str, str], Summary]] = {}
        for at in range(day, day + DAY, HOUR):
            waves = [50 + 30 * math.sin(at / HOUR / 9 + place) for place in range(len(places))]
            hours[at] = {
                place: Summary(60, wave - 5, wave, wave + 5) for place, wave in zip(places, waves, strict=True)
            }
        yield {"machine_id": machine, "length": DAY, "at": day, "block": write_summaries(hours)}


def test_a_year_of_one_machine_is_read_at_once(served: Served) -> None:
    end = SystemClock().now()
    path = f"/machines/a-year/history?from={end - YEAR}&to={end}"
    asked = [served.ask(path) for _ in range(ROUNDS)]
    took, found = [seconds for seconds, _size, _found in asked], asked[-1][2]
    print(
        f"a year of one machine: {len(found['at'])} points of {len(found['readings'])} metrics, {asked[-1][1]:,} bytes"
    )
    print(f"  median {1000 * statistics.median(took):.0f} ms, most {1000 * max(took):.0f} ms; wanted 150 ms at most")
    assert found["resolution"] == "hours"
    assert 900 <= len(found["at"]) <= 1001
    assert set(found["readings"]) == set(VITALS)
    assert statistics.median(took) <= YEAR_SECONDS * BUSY


@pytest.mark.parametrize("metric", DEVICES)
def test_a_year_of_a_metric_of_devices_is_read_at_once(served: Served, metric: str) -> None:
    end = SystemClock().now()
    path, took = f"/machines/a-year/series?metric={metric}&from={end - YEAR}&to={end}", list[float]()
    for _ in range(ROUNDS):
        began = time.process_time()
        _seconds, size, found = served.ask(path)
        took.append(time.process_time() - began)
    devices = found["series"][metric]
    points = sum(len(each["at"]) for each in devices.values())
    wanted = DEVICE_SECONDS * len(devices)
    print(f"a year of {metric}: {points:,} points of {len(devices)} devices, {size:,} bytes")
    print(f"  processor time: median {1000 * statistics.median(took):.0f} ms; wanted {1000 * wanted:.0f} ms at most")
    assert found["resolution"] == "hours"
    assert len(devices) == DEVICES[metric]
    assert all(900 <= len(each["at"]) <= 1001 for each in devices.values())
    assert statistics.median(took) <= wanted * BUSY


def test_a_list_of_10_000_machines_is_one_answer_of_moderate_size(served: Served) -> None:
    asked = [served.ask("/machines?limit=10000") for _ in range(ROUNDS)]
    took, size, found = [seconds for seconds, _size, _found in asked], asked[-1][1], asked[-1][2]
    print(
        f"{len(found['machines']):,} machines: {size:,} bytes, median {1000 * statistics.median(took):.0f} ms, ", end=""
    )
    print(f"most {1000 * max(took):.0f} ms; wanted 1,000 ms and {LIST_BYTES:,} bytes at most")
    assert len(found["machines"]) == MACHINES
    assert found["next"] == found["machines"][-1]["machine"]
    assert size <= LIST_BYTES
    assert statistics.median(took) <= LIST_SECONDS * BUSY
