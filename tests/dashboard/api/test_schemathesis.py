"""Requests that schemathesis makes of the OpenAPI document: no error of the server, and answers as the document says.

Inside `make test` a few for each operation; `make faults` makes many more.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from faults.scale import IS_WHOLE
from http_api import HttpApi, bearer
from hypothesis import HealthCheck, given, settings
from seeding import Fleet
from sqlalchemy import Engine, insert, select

from dashboard.api import resources
from dashboard.api.operation import discover
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import UserRole
from runtime.clock import SystemClock
from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

EXAMPLES = 400 if IS_WHOLE else 8
WITH_RANGE = ("/machines/{machine}/availability", "/machines/{machine}/history", "/machines/{machine}/series")
"""Here a valid start and a valid end may be rejected together: the range must not end before it begins."""

OPERATIONS = [operation.path for operation in discover(resources)]
KNOWN = {"machine": "web-000", "command": "0" * 32}
"""Names that exist, where the path has a placeholder."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A small fleet with everything in it."""
    directory = tmp_path_factory.mktemp("api")
    engine = open_engine(sqlite_url(directory / "fleet.db"))
    upgrade(engine)
    fleet = Fleet(engine, now=SystemClock().now())
    fleet.beat(fleet.now + 3_600_000)
    for key in fleet.crowd(5):
        fleet.a_day(key, hours=1)
        fleet.hours(key, 48)
        fleet.series(key)
        fleet.stream(key, "1-90", highest_seq=100)
        fleet.facts(key, "containers", {"web": ("good", {"image": "nginx", "restarts": 3.0, "paused": False})})
        fleet.alert(key, "cpu", fleet.now - 1000, value=97.0, unit="percent")
        fleet.alert(key, "disk", fleet.now - 5000, ended_at=fleet.now, acknowledged_at=1, acknowledged_by="ada")
        fleet.transition(key, fleet.now - 60_000, "online", "offline", "lost")
    fleet.machine("never", stated=False)
    fleet.incident("blind", ended_at=fleet.now)
    fleet.incident("mass-silence", org="home", machines=2, of=5, names=["web-000", "web-001"])
    seed_commands(fleet)
    yield engine
    engine.dispose()


def seed_commands(fleet: Fleet) -> None:
    """Insert a command with its output, and a change of settings."""
    with fleet.engine.begin() as connection:
        machine = connection.execute(select(tables.machine.c.id).where(tables.machine.c.name == "web-000")).scalar_one()
        base = {"org_id": fleet.org(), "principal": "_dashboard", "actor": "ada", "state": "accepted"}
        for number, kind in enumerate(("act", "configure-org")):
            id_ = f"{number:032x}"
            row = {**base, "id": id_, "kind": kind, "batch": id_, "detail": "", "created_at": fleet.now - number}
            connection.execute(insert(tables.request).values(row))
        command: dict[str, Any] = {"id": "0" * 32, "machine_id": machine, "request_id": "0" * 32, "action": "ping"}
        command |= {"arguments": {}, "statement": "{}", "key": "k", "signature": "s", "expires_at": fleet.now}
        command |= {"state": "succeeded", "output": "pong", "created_at": fleet.now, "exit_code": 0}
        connection.execute(insert(tables.command).values(command))
        change = {"command_id": "0" * 32, "at": fleet.now, "before": "", "after": "queued", "by": "ada"}
        connection.execute(insert(tables.command_transition).values(change))


@pytest.fixture(scope="module")
def api(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApi]:
    accounts = open_auth_database(sqlite_url(tmp_path_factory.mktemp("auth") / "auth.db"))
    yield HttpApi.over(engine, accounts, SystemClock())
    accounts.dispose()


@pytest.fixture(scope="module")
def headers(api: HttpApi) -> dict[str, str]:
    return {"Authorization": bearer(api.token(role=UserRole.ADMIN))["authorization"]}


@pytest.fixture(scope="module")
def schema(api: HttpApi) -> Any:  # noqa: ANN401 - schemathesis' own
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", api.app)


@pytest.mark.timeout(3600 if IS_WHOLE else 120)
@pytest.mark.parametrize("mode", ["known", "valid", "invalid"])
@pytest.mark.parametrize("path", OPERATIONS)
def test_no_request_is_an_error_of_the_server_and_every_answer_is_as_described(
    schema: Any,  # noqa: ANN401 - schemathesis' own
    headers: dict[str, str],
    path: str,
    mode: str,
) -> None:
    """`known`: valid parameters and a name that exists; `valid`: any name; `invalid`: broken parameters."""
    operation = schema[path]["GET"]
    wanted = GenerationMode.NEGATIVE if mode == "invalid" else GenerationMode.POSITIVE
    names = {name: value for name, value in KNOWN.items() if f"{{{name}}}" in path}
    # it takes a token that the test adds, and a list without values, for broken parameters that were accepted
    excluded = [negative_data_rejection, *([positive_data_acceptance] if path in WITH_RANGE else [])]
    statuses: set[int] = set()
    fixed = {"path_parameters": names} if mode == "known" and names else {}

    @given(case=operation.as_strategy(generation_mode=wanted, **fixed))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not IS_WHOLE,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:  # noqa: ANN401 - schemathesis' own
        answer = case.call_and_validate(headers=headers, excluded_checks=excluded)
        statuses.add(answer.status_code)

    check()
    assert max(statuses) < 500
    assert 200 in statuses or mode != "known"
