"""`docs/api.md`: its commands run, with curl, against a server; its operations, fields and statuses are all of them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from http_api import HttpApi
from seeding import Fleet
from servers import free_port, listens, require_program
from waiting import wait_until

from dashboard.api import problem, resources
from dashboard.api.operation import discover
from dashboard.api.time_range import ApiCompleteness
from dashboard.auth.auth_database import open_auth_database
from runtime.clock import SystemClock
from runtime.urls import sqlite_url
from schemas.database.engine import open_engine, upgrade

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
EXAMPLES = [json.loads(each) for each in re.findall(r"^```json\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The API on a port over a small fleet; its address and a token."""
    directory = tmp_path_factory.mktemp("api")
    engine, accounts = (
        open_engine(sqlite_url(directory / "fleet.db")),
        open_auth_database(sqlite_url(directory / "a.db")),
    )
    upgrade(engine)
    clock = SystemClock()
    fleet = Fleet(engine, now=clock.now())
    key = fleet.machine("web-1", labels={"site": "paris"}, cpu_percent=99.0)
    fleet.samples(key, [fleet.now - 10_000 * n for n in range(9, 0, -1)], cpu_percent=12.5, disk_percent=61.2)
    fleet.series_of(key, [{"disk_used_percent": {"/": 71.2}}])
    for rule in ("cpu", "disk", "away"):
        fleet.alert(key, rule, fleet.now - 1000)
    api = HttpApi.over(engine, accounts, clock)
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(api.app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = Thread(target=running.run)
    thread.start()
    wait_until(lambda: listens(port), what="the API")
    yield f"http://127.0.0.1:{port}", api.token()
    running.should_exit = True
    thread.join()
    engine.dispose()
    accounts.dispose()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(server: tuple[str, str], tmp_path: Path, command: str) -> None:
    require_program("curl", "curl")
    address, token = server
    script = command.replace("https://fleet.example.org", address).replace("curl ", "curl --fail ", 1)
    since = str(SystemClock().now() - 3_600_000)
    environment = {**os.environ, "TOKEN": token, "FROM": since}
    done = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, timeout=30, env=environment, cwd=tmp_path, check=True
    )
    found = json.loads(done.stdout)
    (rows,) = [value for name, value in found.items() if name in ("machines", "alerts", "at", "series")]
    assert rows


def test_every_operation_is_named() -> None:
    named = set(re.findall(r"`(/[^`]*)`", TEXT))
    assert {operation.path for operation in discover(resources)} <= named


def test_every_field_of_completeness_is_described() -> None:
    assert set(ApiCompleteness.model_fields) <= set(re.findall(r"`(\w+)`", TEXT))


def test_the_examples_have_the_fields_of_the_answers() -> None:
    history, series, error = EXAMPLES
    answers = {each.id: each.answer for each in discover(resources)}
    for example, answer in ((history, answers["getHistory"]), (series, answers["getSeries"])):
        assert set(example) == {field.serialization_alias or name for name, field in answer.model_fields.items()}
    assert problem.ApiProblem.model_validate(error).model_dump(mode="json") == error
