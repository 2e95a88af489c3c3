"""`dashfleet conform` against our own agent as a process, on each broker."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brokers import broker_of_kind
from sites import now

from agent.orders.journal import create_before_keys
from broker.access.principals import TableDirectory
from ingestor.admin.access import list_principals, new_principal
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from runtime.state_directory import StateDirectory
from schemas.contract.signing import public_key
from schemas.database.engine import open_engine

KINDS = ("embedded", "mosquitto", "nats")
QUICK_AGENT = Path(__file__).parents[1] / "support" / "quick_agent.py"
PATIENCE_SECONDS, QUIET_SECONDS = "40", "6"


@dataclass
class Conformed:
    """The end of a run on one broker."""

    status: int
    report: dict[str, Any]
    junit: str
    errors: str
    principals: dict[str, bool]
    """Whether each user name is revoked."""


def dashfleet(data: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dashfleet", *words],
        env={**os.environ, "DASHFLEET_DATA": str(data), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def enrolled(place: Path, data: Path, server: str, secret: str) -> dict[str, str]:
    """Prepare an agent that trusts the organisation's key; return its environment."""
    own = place / "agent"
    create_before_keys(own, SystemClock())
    seed = (StateDirectory(data).signing / "home").read_text().strip()
    keys = {"org": "home", "keys": [{"public_key": public_key(seed), "name": "first"}]}
    (own / "keys.json").write_text(json.dumps(keys))
    (own / "keys.json").chmod(0o600)
    settings = AgentSettings(data=place, org="home", machine="probe", server=server, interval_seconds=0.2)
    return {
        "DASHFLEET_RESOLVED_SETTINGS": settings.model_dump_json(exclude={"password"}),
        "DASHFLEET_AGENT_PASSWORD": secret,
    }


def conform(kind: str, place: Path) -> Conformed:
    data = place / "server"
    engine = open_engine(StateDirectory(data).database_url)
    secret = new_principal(engine, "home", "probe", "machine", now=now)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        broker = stack.enter_context(broker_of_kind(kind, TableDirectory(engine), place))
        server = f"mqtt://127.0.0.1:{broker.port}"
        done = dashfleet(
            data,
            *("conform", "agent", "--org", "home", "--machine", "probe", "--server", server, "--json"),
            *("--journal", str(place / "machine" / "agent" / "journal.db")),
            *("--patience", PATIENCE_SECONDS, "--quiet", QUIET_SECONDS, "--junit", str(place / "junit.xml")),
            *("--", sys.executable, str(QUICK_AGENT)),
            **enrolled(place / "machine", data, server, secret),
        )
        revoked = {row["username"]: row["revoked"] is not None for row in list_principals(engine)}
    assert done.stdout, done.stderr[-2000:]
    return Conformed(done.returncode, json.loads(done.stdout), (place / "junit.xml").read_text(), done.stderr, revoked)


def test_our_agent_conforms_to_every_assertion_on_every_broker(tmp_path: Path) -> None:
    places = {kind: tmp_path / kind for kind in KINDS}
    assert dashfleet(tmp_path / "server", "setup").returncode == 0
    for place in places.values():
        place.mkdir()
        shutil.copytree(tmp_path / "server", place / "server")
    with ThreadPoolExecutor(len(KINDS)) as pool:
        done = dict(zip(KINDS, pool.map(conform, KINDS, places.values()), strict=True))
    for kind, conformed in done.items():
        wrong = [
            (each["id"], each["result"], each["detail"])
            for each in conformed.report["assertions"]
            if each["result"] != "passed"
        ]
        assert wrong == [], (kind, conformed.errors[-2000:])
        assert (conformed.status, conformed.report["failed"]) == (0, 0)
        assert 'failures="0"' in conformed.junit
        assert not [name for name in conformed.principals if "conform" in name], "the credential of the run is removed"
        assert not any(conformed.principals.values()), "nobody else is revoked"
