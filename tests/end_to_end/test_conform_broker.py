"""`dashfleet conform broker` against each broker; what NATS violates is what the brokers document says."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brokers import broker_of_kind
from command_line import dashfleet

from broker.access.principals import TableDirectory
from ingestor.admin.access import list_orgs, list_principals
from runtime.state_directory import StateDirectory
from schemas.database.engine import open_engine

KINDS = ("embedded", "mosquitto", "nats")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text()


@dataclass
class Conformed:
    """The end of a run on one broker."""

    status: int
    report: dict[str, Any]
    errors: str
    orgs: list[str]
    valid: list[str]
    """User names that are not revoked."""


def conform(kind: str, place: Path) -> Conformed:
    data = place / "server"
    engine = open_engine(StateDirectory(data).database_url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        broker = stack.enter_context(broker_of_kind(kind, TableDirectory(engine), place))
        server = ("--data", str(data), "--server", f"mqtt://127.0.0.1:{broker.port}")
        done = dashfleet("conform", "broker", *server, "--json")
        orgs = [row["org"] for row in list_orgs(engine)]
        valid = [row["username"] for row in list_principals(engine) if row["revoked"] is None]
    assert done.stdout, done.stderr[-2000:]
    return Conformed(done.returncode, json.loads(done.stdout), done.stderr, orgs, valid)


def test_each_broker_violates_what_the_document_says_and_nothing_else(tmp_path: Path) -> None:
    places = {kind: tmp_path / kind for kind in KINDS}
    assert dashfleet("setup", "--data", str(tmp_path / "server")).returncode == 0
    for place in places.values():
        place.mkdir()
        shutil.copytree(tmp_path / "server", place / "server")
    with ThreadPoolExecutor(len(KINDS)) as pool:
        done = dict(zip(KINDS, pool.map(conform, KINDS, places.values()), strict=True))
    documented = dict(re.findall(r"^\| (DF-3\d\d) \| (always|sometimes) \| .+ \|$", DOCUMENT, re.MULTILINE))
    for kind, conformed in done.items():
        found = {each["id"]: each["detail"] for each in conformed.report["assertions"] if each["result"] != "passed"}
        expected = documented if kind == "nats" else {}
        always = {name for name, when in expected.items() if when == "always"}
        assert always <= set(found) <= set(expected), (kind, found, conformed.errors[-2000:])
        assert conformed.status == int(bool(found))
        assert conformed.orgs == ["home"], "the organisations of the run are removed"
        assert not any("conform" in username for username in conformed.valid)
