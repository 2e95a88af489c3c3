"""The command line as real processes: output and exit codes."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from command_line import dashfleet, refusal
from servers import free_port
from sqlalchemy import text
from typer.testing import CliRunner

import dashfleet as front
from cli.up.installation import Installation, Options
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from runtime.version import VERSION
from schemas.database.engine import open_engine

HOSTILE = "from pathlib import Path; Path(__file__).with_name('it-ran').touch(); raise SystemExit('hijacked')\n"
COMMANDS = ("up", "broker", "ingestor", "agent", "dashboard", "machines", "ledger", "watch")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with files named like modules of the project; fails if one of them runs."""
    directory = tmp_path_factory.mktemp("hostile")
    for name in ("agent", "broker", "dashboard", "dashfleet", "ingestor", "installation", "schemas", "supervisor"):
        (directory / f"{name}.py").write_text(HOSTILE)
    yield directory
    assert not (directory / "it-ran").exists()


def test_the_help_names_every_command() -> None:
    done = dashfleet("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options(command: str) -> None:
    done = dashfleet(command, "--help")
    assert done.returncode == 0
    assert "--data" in done.stdout


def test_the_version_is_printed() -> None:
    assert dashfleet("--version").stdout == f"dashfleet {VERSION}\n"


@pytest.mark.parametrize("option", ["--broker-port", "--dashboard-port"])
def test_a_taken_port_is_one_sentence_with_the_way_out(option: str, taken: int, tmp_path: Path) -> None:
    others = {"--broker-port", "--dashboard-port"} - {option}
    ports = [option, str(taken), *(word for other in others for word in (other, str(free_port())))]
    sentence = refusal("up", "--data", str(tmp_path), *ports)
    assert f"port {taken} is in use" in sentence
    assert option in sentence


def test_all_taken_ports_are_named_with_their_options(taken: int, tmp_path: Path) -> None:
    sentence = refusal("up", "--data", str(tmp_path), "--broker-port", str(taken), "--dashboard-port", str(taken))
    assert f"port {taken} and port {taken} are in use" in sentence
    assert 'make up UP="--broker-port PORT --dashboard-port PORT"' in sentence


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    sentence = refusal("up", "--data", str(tmp_path / "file" / "below"))
    assert "cannot write in" in sentence
    assert "--data" in sentence


@pytest.mark.parametrize("command", ["up", "ingestor", "broker", "dashboard", "machines"])
def test_a_database_of_a_newer_version_is_one_sentence(command: str, data: Path) -> None:
    engine = open_engine(StateDirectory(data).database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    ports = ["--broker-port", str(free_port()), "--dashboard-port", str(free_port())] if command == "up" else []
    sentence = refusal(command, "--data", str(data), *ports, DASHFLEET_INGESTOR_PASSWORD="x")
    assert "version" in sentence


def test_a_missing_password_is_one_sentence(data: Path) -> None:
    assert "cannot read the secret in /nowhere" in refusal(
        "ingestor", "--data", str(data), DASHFLEET_INGESTOR_PASSWORD_FILE="/nowhere"
    )


def test_a_secret_that_others_can_read_is_refused_with_the_command_that_mends_it(data: Path) -> None:
    secret = StateDirectory(data).secret("ingestor")
    write_secret(secret, "made-up")
    secret.chmod(0o644)
    assert f"chmod 600 {secret}" in refusal("ingestor", "--data", str(data))


def test_a_wrong_setting_is_named_with_its_environment_variable(data: Path) -> None:
    sentence = refusal("agent", "--data", str(data), "--check", DASHFLEET_AGENT_INTERVAL_SECONDS="soon")
    assert "interval_seconds" in sentence
    assert "DASHFLEET_AGENT_INTERVAL_SECONDS" in sentence


def test_an_agent_that_another_one_shares_its_outbox_with_refuses_to_start(data: Path) -> None:
    (data / "agent").mkdir()
    import sqlite3

    other = sqlite3.connect(data / "agent" / "outbox.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE x (y)")
    try:
        sentence = refusal("agent", "--data", str(data), "--machine", "x", DASHFLEET_AGENT_PASSWORD="x")
    finally:
        other.close()
    assert "another agent uses" in sentence


def test_check_prints_the_effective_settings_with_secrets_masked(data: Path) -> None:
    (data / "dashfleet.toml").write_text('[agent]\ninterval_seconds = 30\norg = "acme"\n')
    done = dashfleet(
        "agent", "--data", str(data), "--check", "--interval", "5",
        DASHFLEET_AGENT_PASSWORD="do-not-show", DASHFLEET_AGENT_ORG="office",
    )  # fmt: skip
    assert done.returncode == 0
    assert "interval_seconds = 5.0" in done.stdout, "the command line comes first"
    assert "org = 'office'" in done.stdout, "the environment comes before the file"
    assert "do-not-show" not in done.stdout + done.stderr
    assert "password = '**********'" in done.stdout


def test_machines_lists_an_empty_fleet_as_a_table_and_as_json(data: Path) -> None:
    assert "Machine" in dashfleet("machines", "--data", str(data)).stdout
    assert json.loads(dashfleet("machines", "--data", str(data), "--json").stdout) == []


def test_ledger_lists_an_empty_fleet_as_json(data: Path) -> None:
    assert json.loads(dashfleet("ledger", "--data", str(data), "--json").stdout) == []


def test_machines_without_a_database_is_one_sentence(tmp_path: Path) -> None:
    assert "cannot open" in refusal("machines", "--data", str(tmp_path))


def test_a_backup_is_restored_elsewhere_and_never_over_anything(data: Path, tmp_path: Path) -> None:
    file, other = str(tmp_path / "fleet.backup"), str(tmp_path / "other")
    Path(other).mkdir()
    assert "Backed up 0 machines and 0 samples" in dashfleet("backup", file, "--data", str(data)).stdout
    assert "Restored 0 machines" in dashfleet("restore", file, "--data", other).stdout
    assert json.loads(dashfleet("machines", "--data", other, "--json").stdout) == []
    assert "exists already" in refusal("backup", file, "--data", str(data))
    assert "exists already" in refusal("restore", file, "--data", other)
    assert "is no backup" in refusal("restore", __file__, "--data", str(tmp_path / "third"))
    assert not (tmp_path / "third" / "dashfleet.db").exists()


def test_an_export_goes_to_standard_output_or_to_a_new_file(data: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "history.csv")
    where = ("--org", "acme", "--data", str(data))
    dashfleet("org", "add", "acme", "--data", str(data))
    printed = dashfleet("export", *where, "--from", "2026-11-25", "--to", "2026-11-26T08:30").stdout
    assert printed.startswith("machine,time,cpu_percent,")
    assert dashfleet("export", *where, "--output", "-").stdout == printed
    assert not Path("-").exists()
    assert "Exported 0 rows" in dashfleet("export", *where, "--output", file).stdout
    assert Path(file).read_text() == printed
    assert "already exists" in refusal("export", *where, "--output", file)
    assert "acme has no machine attic" in refusal("export", *where, "--machine", "attic")
    assert "--from must be before --to" in refusal("export", *where, "--to", "7d")
    assert "readings of devices have no minutes" in refusal("export", *where, "--series", "--resolution", "minutes")
    assert "invalid time" in refusal("export", *where, "--from", "yesterday")
    assert "choose a file with --output" in refusal("export", *where, "--format", "parquet")
    assert "choose a file with --output" in refusal("export", *where, "--format", "parquet", "--output", "-")


def test_a_report_goes_to_standard_output_or_to_a_new_file(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    where = ("--org", "acme", "--data", str(data))
    dashfleet("org", "add", "acme", "--data", str(data))
    printed = dashfleet("report", *where, "--to", "2026-11-26T08:30").stdout
    assert printed.startswith("<!DOCTYPE html>")
    assert "27 Oct 2026, 08:30:00 to 26 Nov 2026, 08:30:00, UTC" in printed
    assert "Wrote the report on acme" in dashfleet("report", *where, "--output", str(file), "--language", "fr").stdout
    assert '<html lang="fr">' in file.read_text()
    assert "already exists" in refusal("report", *where, "--output", str(file))
    assert "unknown language 'xx': choose one of en, es, fr, ru" in refusal("report", *where, "--language", "xx")
    assert "there is no organisation nowhere" in refusal("report", "--org", "nowhere", "--data", str(data))


def test_watch_says_when_there_is_no_secret(tmp_path: Path) -> None:
    assert "secret" in refusal("watch", "--data", str(tmp_path))


def test_an_agent_started_where_a_file_is_called_agent_runs_our_agent(data: Path, hostile: Path) -> None:
    argv = [str(Path(sys.executable).with_name("dashfleet")), "agent", "--data", str(data), "--machine", "attic"]
    environment = {**os.environ, "DASHFLEET_AGENT_PASSWORD": "made-up"}
    with subprocess.Popen(argv, cwd=hostile, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: agent of home/attic")
        finally:
            process.terminate()


def test_up_runs_our_parts_wherever_it_is_started(data: Path, hostile: Path) -> None:
    options = Options(broker_port=1, dashboard_port=2, interval_seconds=None, agent=True)
    for part in Installation(StateDirectory(data), options, "attic")._specs():
        command = part.argv[: part.argv.index(part.name)]
        done = subprocess.run([*command, "--version"], cwd=hostile, capture_output=True, text=True, check=False)
        assert done.stdout == f"dashfleet {VERSION}\n", done.stderr


@pytest.mark.parametrize("command", [["ingestor"], ["broker"], ["dashboard"], ["machines"], ["org", "add", "x"]])
def test_a_databases_password_on_the_command_line_is_refused_and_not_repeated(data: Path, command: list[str]) -> None:
    sentence = refusal(*command, "--data", str(data), "--database", "postgresql+psycopg://u:do-not-show@h/d")
    assert "_DATABASE" in sentence
    assert "do-not-show" not in sentence


def test_check_masks_the_password_of_a_database(data: Path) -> None:
    url = "postgresql+psycopg://u:do-not-show@h/d"
    done = dashfleet("broker", "--data", str(data), "--check", DASHFLEET_BROKER_DATABASE=url)
    assert "database = 'postgresql+psycopg://u:***@h/d'" in done.stdout
    assert "do-not-show" not in done.stdout + done.stderr


def test_a_missing_certificate_authority_is_one_sentence(data: Path) -> None:
    server = ["--server", "mqtts://127.0.0.1:1"]
    for part in ("agent", "ingestor", "watch"):
        environment = {f"DASHFLEET_{part.upper()}_CA_FILE": "/nowhere/ca.pem"}
        assert "/nowhere/ca.pem" in refusal(part, "--data", str(data), *server, **environment)


@pytest.mark.parametrize("url", ["mysql://h/d", "foo://h", "postgresql://h:port/d"])
def test_a_database_that_is_none_of_ours_is_one_sentence(data: Path, url: str) -> None:
    assert "the database must be" in refusal("machines", "--data", str(data), "--database", url)


@pytest.mark.parametrize("name", ["logs", "secrets"])
def test_a_state_directory_in_disorder_is_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("not a directory")
    ports = ["--broker-port", str(free_port()), "--dashboard-port", str(free_port())]
    assert f"cannot write in {tmp_path}" in refusal("up", "--data", str(tmp_path), *ports)


def test_each_command_and_group_is_listed_with_the_module_that_has_it() -> None:
    def commands(only: str | None = None) -> set[str]:
        return set(typer.main.get_command(front.application(only)).commands)  # type: ignore[attr-defined]

    modules = {name: module for names in front.COMMANDS.values() for name, module in names.items()}
    assert commands() == commands("no-command") == set(modules)
    for name, module in modules.items():
        alone = [name] if name in front.GROUPS else [each for each in modules if modules[each] == module]
        assert commands(name) == set(alone), module


def test_the_help_lists_each_command_under_its_subject() -> None:
    shown = CliRunner().invoke(front.application(), ["--help"], env={"COLUMNS": "100"}).stdout
    subject = ""
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if line.startswith("╭"):
            subject = line.strip("╭─╮ ")
        elif named := re.match(r"│ ([a-z][a-z-]*) ", line):
            found.setdefault(subject, []).append(named[1])
    assert found == {subject: list(names) for subject, names in front.COMMANDS.items()}
