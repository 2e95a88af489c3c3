"""Every command line in a code block of README and docs is executed, or stands in a table here with the reason.

They run in their order against an installation that `dashfleet setup` has made: a database with the organisations home
and acme, machines with samples, people, and an archive of it.
"""

import itertools
import os
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from seeding import INFO, Fleet
from sqlalchemy import select
from typer.testing import CliRunner
from waiting import wait_until

import agent.actions
import dashfleet
from agent.action import described, discover
from runtime.clock import SystemClock
from runtime.settings.agent import ALLOWED_ACTIONS, AgentSettings
from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
GENERATED: Final = "cli.md"
"""Its blocks are the synopsis of each command (`tests/support/cli_reference.py`)."""

PROGRAMS: Final = ("dashfleet", "make", "pip", "export", "git", "nft", "nats-server", "echo", "systemctl", "sudo")

NOT_RUN: Final = {
    "git clone … && cd dashfleet": "the tests run in a checkout",
    "make test": "runs these tests",
    "make up": "`dashfleet up` is run by tests/end_to_end/test_up.py",
    "make faults": "takes four hours; tests/faults has the short form",
    "dashfleet up --listen 0.0.0.0": "runs until it is stopped; tests/end_to_end/test_disaster.py runs it with TLS",
    "dashfleet up --homeassistant mqtt://homeassistant.local": "needs a broker; tests/bridges/test_process.py has one",
    "dashfleet homeassistant --to mqtt://homeassistant.local": "needs a broker; tests/bridges/test_process.py has one",
    "sudo dpkg --install dashfleet-agent_0.2.0_amd64.deb": "tests/faults/test_installation.py does",
    "sudo -u dashfleet dashfleet agent enrol --data /var/lib/dashfleet --server mqtts://fleet.example.org:8883 "
    "--ca-file ca.pem": "tests/agent/test_enrolment.py enrols over a broker",
    "sudo systemctl start dashfleet-agent": "starts a service; tests/faults/test_installation.py",
    "sudo systemctl edit dashfleet-agent": "opens an editor",
    "dashfleet bundle --platform linux-x86_64": "downloads from a package index; tests/faults/test_installation.py",
    "dashfleet bundle --platform linux-x86_64 --platform linux-aarch64": "downloads from a package index",
    "dashfleet bundle --output bundle --platform linux-x86_64": "downloads from a package index",
    "sudo sh bundle/install.sh --from bundle --server mqtts://fleet.example.org:8883 --ca-sha256 …": (
        "installs on this machine; tests/faults/test_installation.py runs it on another"
    ),
    "sudo /opt/dashfleet-checkout/.venv/bin/dashfleet agent install --server mqtts://fleet.example.org:8883 --ca-file "
    "ca.pem": "installs on this machine; tests/agent/installation/test_installer.py runs it in a root of its own",
    "dashfleet agent enrol --server mqtt://127.0.0.1:1883 --machine vm-2 --data /tmp/vm-2": (
        "tests/agent/test_enrolment.py enrols over a broker"
    ),
    "dashfleet agent --data /tmp/vm-2": "runs until it is stopped",
    "dashfleet mosquitto …": "stands for the command in docs/brokers.md",
    "dashfleet mosquitto --bind 0.0.0.0 --port 8883 --certificate tls/server.pem --private-key tls/server.key": (
        "runs until it is stopped; tests/broker/external/test_mosquitto.py runs it with TLS"
    ),
    "dashfleet ingestor": "runs until it is stopped; tests/end_to_end/test_separate_parts.py runs it",
    "dashfleet dashboard": "runs until it is stopped; tests/end_to_end/test_separate_parts.py runs it",
    "dashfleet ingestor --name ingestor-2": "runs until it is stopped; tests/faults/test_several_ingestors.py runs it",
    "dashfleet nats --node n1 --bind 0.0.0.0 --port 8883 --certificate … --private-key … --cluster-listen "
    "10.0.0.1:6222 --route 10.0.0.2:6222 --route 10.0.0.3:6222": "needs three servers; tests/faults/test_cluster.py",
    "nats-server -c nats/nats.conf": "runs until it is stopped; tests/broker/external/test_nats.py runs it",
    "dashfleet notify test mail": "sends to a mail server; tests/notifier sends to one of the test",
    "dashfleet notify route pager --severity critical --after 15m": "the guide adds only the destination mail",
    "dashfleet act ping --all --org acme": "the guide has not enrolled a machine yet; tests/end_to_end/test_acting.py",
    "dashfleet conform agent --org home --machine probe --json -- node agent.js": "tests/end_to_end/test_conform.py",
    "dashfleet conform consumer -- node consumer.js": "tests/end_to_end/test_examples.py",
    "dashfleet conform actor -- node actor.js": "tests/end_to_end/test_examples.py",
    "dashfleet conform agent -- ruby agent.rb": "tests/end_to_end/test_examples.py",
    "dashfleet broker": "runs until it is stopped; tests/end_to_end/test_separate_parts.py runs it",
    "dashfleet conform broker": "tests/end_to_end/test_conform_broker.py",
    "dashfleet simulate --machines 1000 --interval 10 --duration 10m": "runs for ten minutes; test_simulate.py",
    "dashfleet simulate --machines 100 --duration 10m --fault loss=10 --fault cuts=6": "runs for ten minutes",
    "dashfleet simulate --machines 1000 --server mqtts://fleet.example.org --database "
    "postgresql+psycopg://fleet@db/fleet": "needs a server; tests/end_to_end/test_simulate.py has one",
    "dashfleet drill run broker-killed disk-full": "takes minutes; tests/cli/drill runs it with DASHFLEET_FAULTS=whole",
    "dashfleet drill run all --json": "takes minutes; tests/cli/drill runs it with DASHFLEET_FAULTS=whole",
    "dashfleet replay --from 2026-11-25T08:00 --to 2026-11-25T20:00 --speed 600 --id tuesday": (
        "needs a broker; tests/end_to_end/test_replay.py has one"
    ),
    "dashfleet org remove simulation": "no simulation ran before it",
    "dashfleet move export --all > machines.json": "no machine here has a credential; tests/cli/fleet/test_move.py",
    "dashfleet move import machines.json > destination.json": "needs that file; tests/cli/fleet/test_move.py",
    "dashfleet files get 4f1c… error.log": "no file was pulled here; tests/cli/fleet/test_files.py",
    "dashfleet act move --all --file destination=destination.json --wait": "needs that file; tests/faults/test_move.py",
    "dashfleet act restart --label site=paris --wait": "waits for machines; tests/end_to_end/test_acting.py",
}
"""Command lines that are not executed here, and why."""

DRY_RUN: Final = ("dashfleet act ",)
"""Executed with `--dry-run`: tests/end_to_end/test_acting.py sends them over a broker to agents."""

NEEDS_A_FIREWALL: Final = ("nft ",)

LAST: Final = ("dashfleet notify remove mail",)
"""Executed after the other lines of the document, which need what it removes."""

REPLACED: Final = {
    "$(date +%F)": "2026-11-25",  # so that the commands after it find the file
    "/backups/": "backups/",
    "postgresql+psycopg://fleet@db/fleet?passfile=/var/lib/dashfleet/pgpass": "sqlite:///unused.db",
    "dashfleet silence end 7": "dashfleet silence end 1",  # the first of those that the guide adds
}
"""What the examples name, and what it is here."""


ALLOWED: Final = [*ALLOWED_ACTIONS, "reboot", "container", "service", "push", "pull"]


def blocks(document: Path) -> list[list[str]]:
    """Return the command lines in each code block of a document, without comments."""
    found = re.findall(r"^ *```\w*\n(.*?)^ *```$", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [[line for line in map(_without_comment, block.splitlines()) if _is_command(line)] for block in found]


def _without_comment(line: str) -> str:
    return re.sub(r"\s+#.*", "", line).strip()


def _is_command(line: str) -> bool:
    return line.partition(" ")[0] in PROGRAMS and not line.startswith("dashfleet ALL=")


def commands(document: Path) -> list[str]:
    return [line for block in blocks(document) for line in block]


def executed(block: list[str]) -> list[str]:
    return [adapted(line) for line in block if line not in NOT_RUN and not line.startswith(NEEDS_A_FIREWALL)]


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHFLEET_DATA", str(tmp_path / "data"))
    (tmp_path / "backups").mkdir()
    (tmp_path / "app.conf").write_text("a file to push")
    run("dashfleet setup")
    engine = open_engine(sqlite_url(tmp_path / "data" / "dashfleet.db"))
    now = SystemClock().now()
    fleet = Fleet(engine, now=now)
    offered = described(discover(agent.actions), AgentSettings(data=tmp_path, machine="any", allowed_actions=ALLOWED))
    info = {**INFO, "actions": [each.model_dump() for each in offered]}
    names = {"web-1": {"site": "paris"}, "web-2": {"site": "paris"}, "till-7": {"site": "nantes"}, "attic": {}}
    for name, labels in names.items():
        fleet.a_day(fleet.machine(name, labels=labels, info=info), hours=2)
    run("dashfleet tls fleet.example.org")
    if "acme" not in run("dashfleet org list"):
        run("dashfleet org add acme")
    fleet.machine("web-1", org="acme")
    yield tmp_path
    engine.dispose()


LONG_SECONDS: Final = 60.0
"""Time after which a command that has not ended is named: the limit of the test alone does not say which one it was."""


def run(line: str) -> str:
    """Execute a command line of ours, also at the end of a pipe or before a redirection; return its output."""
    typed, _, piped = line.rpartition(" | ")
    if typed:
        given = shlex.split(typed)
        assert given[0] == "echo", line
    piped, _, target = piped.partition(" > ")
    program, *words = shlex.split(piped)
    assert program == "dashfleet", line
    named = threading.Timer(LONG_SECONDS, os.write, (2, f"this command has not ended yet: {line}\n".encode()))
    named.start()
    try:
        given_input = shlex.split(typed)[1] + "\n" if typed else "y\n"
        done = CliRunner().invoke(dashfleet.application(), words, input=given_input)
    finally:
        named.cancel()
    assert done.exit_code == 0, f"{line}: {done.output} {done.exception!r}"
    if target:
        Path(target).write_text(done.stdout)
    return done.output


def adapted(line: str) -> str:
    for example, ours in REPLACED.items():
        line = line.replace(example, ours)
    return f"{line} --dry-run" if line.startswith(DRY_RUN) else line


WITH_COMMANDS = [path for path in DOCUMENTS if path.name != GENERATED and any(map(executed, blocks(path)))]


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
@pytest.mark.usefixtures("installation")
def test_the_command_lines_of_a_document_work_as_they_stand(document: Path) -> None:
    """Each block has a shell of its own, so what it exports ends with it."""
    numbers = itertools.count()
    found = list(map(executed, blocks(document)))
    last = [line for block in found for line in block if line in LAST]
    for block in [*([line for line in block if line not in LAST] for block in found), last]:
        with pytest.MonkeyPatch.context() as shell:
            execute(block, shell, numbers)


def execute(block: list[str], shell: pytest.MonkeyPatch, numbers: Iterator[int]) -> None:
    for line in block:
        if line.startswith("export "):
            for assignment in line.removeprefix("export ").split(" DASHFLEET"):
                name, _, value = assignment.partition("=")
                value = re.sub(r"\$\((.*)\)", lambda found: run(found[1]).splitlines()[0], value.strip("'"))
                name = name if name.startswith("DASHFLEET") else f"DASHFLEET{name}"
                shell.setenv(name, os.path.expandvars(value))
        elif line.startswith("dashfleet restore"):
            shell.setenv("DASHFLEET_DATA", f"restored-{next(numbers)}")  # an empty directory, as on a new server
            run(line)
        else:
            if line == "dashfleet org add acme":
                run("dashfleet org remove acme --yes")
            if line.startswith("dashfleet tls ") and "--renew" not in line:  # each guide begins without a certificate
                shutil.rmtree("data/tls", ignore_errors=True)
            run(line)


def test_what_is_not_executed_is_in_a_document() -> None:
    everything = {line for path in DOCUMENTS for line in commands(path)}
    assert set(NOT_RUN) - everything == set()


def test_the_lines_for_a_firewall_are_accepted_by_nft(tmp_path: Path) -> None:
    """Checked, not applied: `nft --check` needs no right to change the network of this machine."""
    import subprocess

    from servers import require_program

    lines = [line for path in DOCUMENTS for line in commands(path) if line.startswith("nft ")]
    assert len(lines) > 3
    script = tmp_path / "rules"
    script.write_text("".join(f"{' '.join(shlex.split(line)[1:])}\n" for line in lines))
    argv = [require_program("nft", "nftables"), "--check", "--file", str(script)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if "not permitted" in done.stderr:
        pytest.skip("nft needs root")
    assert done.returncode == 0, done.stderr


def test_a_command_that_does_not_end_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make = dashfleet.application

    def slow() -> object:
        wait_until(lambda: "not ended yet: dashfleet org list --help" in capfd.readouterr().err, what="its name")
        return make()

    monkeypatch.setattr(sys.modules[__name__], "LONG_SECONDS", 0.05)
    monkeypatch.setattr(dashfleet, "application", slow)
    assert "List organisations" in run("dashfleet org list --help")


def test_a_command_that_fails_is_found(installation: Path) -> None:
    assert installation
    with pytest.raises(AssertionError, match="no organisation nowhere"):
        run("dashfleet token create --org nowhere")
    engine = open_engine(sqlite_url(installation / "data" / "dashfleet.db"))
    with engine.connect() as connection:
        assert connection.scalars(select(tables.org.c.name)).all()
    engine.dispose()
