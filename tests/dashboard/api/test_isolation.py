"""The walls over HTTP: a token of one organisation sees nothing of another, whatever it asks for.

Both organisations have machines of the same names, with everything that a machine can have; all texts of the other one
are marked. Every operation is called with names, ids, positions and searches of both.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from clocks import Clock
from http_api import HttpApi, bearer
from seeding import NOW, Fleet
from sqlalchemy import Engine, delete, insert, select

from dashboard.api import resources
from dashboard.api.operation import Operation, discover
from dashboard.auth.users import UserRole, insert_user
from schemas.contract.messages import INTEGER_MAX
from schemas.database import tables
from schemas.fleet.history import HOUR

MARK = "xyzzy"
OPERATIONS = discover(resources)
SEARCHES = ("", MARK, "theirs", "%", "_", "'", '" OR 1=1 --', "home", "other")


@pytest.fixture
def both(fleet: Fleet, accounts: Engine) -> Fleet:
    """Two organisations; what the other one has is marked."""
    for org, mark in (("home", "ours"), ("other", MARK)):
        _fill(fleet, org, mark, number=1 if org == "home" else 2)
        with accounts.begin() as connection:
            insert_user(connection, f"{mark}-ada", "-", UserRole.ADMIN, org, f"{mark}-root")
    return fleet


def _fill(fleet: Fleet, org: str, mark: str, *, number: int) -> None:
    labels = {"site": mark}
    shared = fleet.machine("same", org=org, hostname=f"{mark}.example.org", os=mark, labels=labels, info={"x": mark})
    own = fleet.machine(mark, org=org, extra={f"{mark}_metric": 1.0}, presence="offline", reason="lost")
    for key in (shared, own):
        fleet.samples(key, [NOW - 5000 * n for n in range(1, 4)], cpu_percent=10.0 * number, extra={mark: 5.0})
        fleet.hours(key, 3)
        fleet.series_of(key, [{"disk_used_percent": {f"/{mark}": 50.0}}])
        fleet.stream(key, f"1-{number}0", highest_seq=number * 10)
        fleet.facts(key, "containers", {f"{mark}-container": ("good", {"image": mark})})
        fleet.transition(key, NOW - HOUR, "online", "offline", "lost")
        fleet.alert(key, mark, NOW - 1000, title=mark, detail=mark, acknowledged_at=NOW, acknowledged_by=mark)
        fleet.alert(key, mark, NOW - 9000, ended_at=NOW - 8000, title=mark)
    fleet.incident("mass-silence", org=org, names=[mark, "same"], machines=2)
    fleet.incident("cloned-identity", org=org, machine=mark, ended_at=NOW)
    with fleet.engine.begin() as connection:
        for place, kind in enumerate(("act", "configure-org")):
            id_ = f"{number}{place}".rjust(32, "0")
            row = {"id": id_, "org_id": fleet_org(connection, org), "principal": f"{org}._{mark}", "actor": mark}
            row |= {"kind": kind, "batch": id_, "state": "accepted", "detail": mark, "created_at": NOW - number}
            connection.execute(insert(tables.request).values(row))
        command: dict[str, Any] = {"id": f"{number}".rjust(32, "c"), "machine_id": shared, "action": mark}
        command |= {"request_id": f"{number}0".rjust(32, "0"), "arguments": {"text": mark}, "statement": "{}"}
        command |= {"key": "k", "signature": "s", "expires_at": NOW, "state": "failed", "output": mark, "detail": mark}
        connection.execute(insert(tables.command).values(**command, created_at=NOW - number))
        change = {"command_id": command["id"], "at": NOW, "before": "", "after": "failed", "by": mark}
        connection.execute(insert(tables.command_transition).values(change))


def fleet_org(connection: Any, name: str) -> int:  # noqa: ANN401
    return int(connection.execute(select(tables.org.c.id).where(tables.org.c.name == name)).scalar_one())


def addresses(operation: Operation) -> Iterator[str]:
    """Yield addresses of an operation with names and ids of both organisations."""
    names = {
        "machine": ("same", "ours", MARK, "none"),
        "command": ("1".rjust(32, "c"), "2".rjust(32, "c"), "3".rjust(32, "c")),
    }
    place = re.search(r"\{(\w+)\}", operation.path)
    for name in names[place[1]] if place else ("",):
        yield operation.path.replace(place[0], name) if place else operation.path


def queries(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield queries of an operation: each parameter with values of both organisations."""
    known = {field.alias or name for name, field in operation.parameters.model_fields.items()}
    everything = {"presence": ["online", "offline", "retired"], "state": "all", "from": 0, "to": INTEGER_MAX}
    wide = {name: value for name, value in everything.items() if name in known}
    if operation.id == "listCommands":
        wide.pop("state")
    yield {}
    yield wide
    values: dict[str, tuple[Any, ...]] = {
        "search": SEARCHES,
        "machine": ("same", MARK),
        "label": (f"site={MARK}", "site=ours"),
        "rule": (MARK,),
        "metric": (MARK, f"{MARK}_metric", "cpu_percent", "disk_used_percent"),
        "batch": ("20".rjust(32, "0"),),
        "kind": ("mass-silence",),
        "after": {
            "listMachines": ("", "a", "same", MARK, "zzz"),
            "listAlerts": (1, 3, 5, 1000),
            "listIncidents": (1, 3, 5, 1000),
            "listCommands": (f"{NOW}-{'f' * 32}", f"{NOW - 2}-{'2'.rjust(32, 'c')}"),
            "listChanges": (f"{NOW}.settings.{'f' * 32}", f"{NOW + 10**12}.users.99", f"{NOW}.users.1"),
        }.get(operation.id, ()),
    }
    for name, choices in values.items():
        for value in choices if name in known else ():
            if value != "" or name != "after":
                yield {**wide, name: value}


def answers(api: HttpApi, operation: Operation, token: str) -> Iterator[tuple[str, int, str]]:
    for address in addresses(operation):
        for query in queries(operation):
            found = api.client.get(f"/api/v1{address}", params=query, headers=bearer(token))
            yield f"{address} {query}", found.status_code, found.text


@pytest.mark.parametrize("role", [UserRole.VIEWER, UserRole.ADMIN])
def test_a_token_sees_nothing_of_another_organisation_and_the_same_as_without_it(
    api: HttpApi, both: Fleet, database: Engine, clock: Clock, role: UserRole
) -> None:
    ours, theirs = api.token("home", role, "ours"), api.token("other", role, f"{MARK}-token")
    clock.advance(0.001)
    before = {operation.id: list(answers(api, operation, ours)) for operation in OPERATIONS}
    seen = "".join(text for found in before.values() for _asked, _status, text in found)
    for operation in OPERATIONS:
        own = [text for _asked, status, text in answers(api, operation, theirs) if status == 200]
        assert any(MARK in text for text in own) or operation.id in ("getHistory",), operation.id
    assert "ours" in seen
    assert MARK not in re.sub(rf'"{MARK}(_metric)?":', "", seen)  # a metric that was asked for is named
    with database.begin() as connection:
        connection.execute(delete(tables.org).where(tables.org.c.name == "other"))
    both.beat(clock.now())
    assert {operation.id: list(answers(api, operation, ours)) for operation in OPERATIONS} == before


def test_what_belongs_to_another_organisation_is_answered_as_what_does_not_exist(api: HttpApi, both: Fleet) -> None:  # noqa: ARG001
    ours = api.token("home")
    for template, theirs, nobodys in (
        ("/machines/{}", MARK, "none"),
        ("/machines/{}/history", MARK, "none"),
        ("/machines/{}/availability", MARK, "none"),
        ("/machines/{}/series?metric=disk_used_percent", MARK, "none"),
        ("/machines/{}/ledger", MARK, "none"),
        ("/machines/{}/facts", MARK, "none"),
        ("/commands/{}", "2".rjust(32, "c"), "3".rjust(32, "c")),
    ):
        one, other = (
            api.client.get(f"/api/v1{template.format(name)}", headers=bearer(ours)) for name in (theirs, nobodys)
        )
        assert (one.status_code, one.content) == (other.status_code, other.content) == (404, other.content)
        assert one.headers == other.headers
