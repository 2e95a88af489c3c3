"""The readings of a tile, over HTTP: of the visitor's own organisation, and with their age if they are not current."""

from collections.abc import Iterator
from typing import Any

import pytest
from clocks import Clock
from seeding import NOW, Fleet
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.fleet.tile_details import DETAILS, TileDetails


@pytest.fixture
def client(reader: Engine) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=TileDetails(reader, Clock()).routes()), headers={"x-df-org": "home"}) as client:
        yield client


def lines(client: TestClient, name: str) -> list[str]:
    return str(client.get(DETAILS, params={"id": name}).text).splitlines()


def test_a_machine_says_its_values_and_since_when(fleet: Fleet, client: TestClient) -> None:
    fleet.machine("well", since_at=NOW - 7_200_000)
    assert lines(client, "well") == ["Since 2 h", "Health: 100 OK", "CPU 20 % · Memory 40 % · Disk 50 %"]


def test_values_that_are_not_current_have_their_age_and_no_health(fleet: Fleet, client: TestClient) -> None:
    times: dict[str, Any] = {"since_at": NOW - 60_000, "sampled_at": NOW - 300_000, "last_seen_at": NOW - 240_000}
    fleet.machine("gone", presence="offline", reason="lost", **times)
    assert lines(client, "gone") == [
        "The connection was lost, since 1 min",
        "CPU 20 % · Memory 40 % · Disk 50 % (5 min ago)",
    ]


@pytest.mark.parametrize("name", ["theirs", "nobody", "", "<script>"])
def test_a_machine_of_another_organisation_does_not_exist(fleet: Fleet, client: TestClient, name: str) -> None:
    fleet.machine("theirs", org="other")
    assert client.get(DETAILS, params={"id": name}).status_code == 404
