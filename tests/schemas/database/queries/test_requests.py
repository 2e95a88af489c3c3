"""Batches of the activity page while the ingestor deletes old ones."""

from typing import Any

import pytest
from seeding import Fleet
from sqlalchemy import Engine, Row, Select, delete, insert

from schemas.database import tables
from schemas.database.queries import requests
from schemas.database.queries.fetch import fetch_all

BATCH = "b" * 32


@pytest.fixture
def batch(fleet: Fleet) -> str:
    machine = fleet.machine("attic", hostname="vm")
    asked = {"id": "1" * 32, "org_id": fleet.org(), "principal": "home._ops", "actor": "ada", "kind": "act"}
    order = {"id": "2" * 32, "machine_id": machine, "request_id": asked["id"], "action": "ping", "arguments": {}}
    signed = {"statement": "{}", "key": "", "signature": "", "expires_at": fleet.now, "state": "succeeded"}
    with fleet.engine.begin() as connection:
        row = {**asked, "batch": BATCH, "state": "accepted", "created_at": fleet.now}
        connection.execute(insert(tables.request).values(row))
        connection.execute(insert(tables.command).values(**order, **signed, created_at=fleet.now))
    return BATCH


def test_a_batch_has_the_number_of_its_commands_in_each_state(batch: str, reader: Engine) -> None:
    found = requests.find_batch(reader, "home", batch)
    assert found is not None
    assert (found.action, found.machine, found.hostname, found.states) == ("ping", "attic", "vm", {"succeeded": 1})


def test_a_batch_is_only_its_organisations(batch: str, fleet: Fleet, reader: Engine) -> None:
    fleet.org("other")
    assert requests.find_batch(reader, "other", batch) is None


def test_a_batch_that_is_deleted_while_it_is_read_is_gone(
    batch: str, fleet: Fleet, reader: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch_and_delete(engine: Engine, query: Select[Any]) -> list[Row[Any]]:
        found = fetch_all(engine, query)
        with fleet.engine.begin() as connection:
            connection.execute(delete(tables.request))
        return found

    monkeypatch.setattr(requests, "fetch_all", fetch_and_delete)
    assert requests.find_batch(reader, "home", batch) is None
