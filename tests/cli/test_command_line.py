"""The command line as a person meets it: real processes, their output and exit codes."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from servers import free_port
from sqlalchemy import text

from broker.access.principals import TableDirectory
from cli.up.installation import Installation, Options
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import verify
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from runtime.version import VERSION
from schemas.contract.enrolment import Token
from schemas.database.engine import open_engine, upgrade

HOSTILE = "from pathlib import Path; Path(__file__).with_name('it-ran').touch(); raise SystemExit('hijacked')\n"
COMMANDS = ("up", "broker", "ingestor", "agent", "dashboard", "machines", "ledger", "watch")


def dashfleet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dashfleet", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment},
    )


def refusal(*arguments: str, **environment: str) -> str:
    """The one sentence with which a command refuses to start."""
    done = dashfleet(*arguments, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A state directory with an empty fleet."""
    engine = open_engine(StateDirectory(tmp_path).database_url)
    upgrade(engine)
    engine.dispose()
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory whose files are called like ours; none of them may be run."""
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
    assert "there is a file" in refusal("backup", file, "--data", str(data))
    assert "there is a file" in refusal("restore", file, "--data", other)
    assert "is no backup" in refusal("restore", __file__, "--data", str(tmp_path / "third"))


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


# Access.


def fits(data: Path, username: str, secret: str) -> bool:
    """Whether a broker lets this one in now."""
    engine = open_engine(StateDirectory(data).database_url)
    directory = TableDirectory(engine)
    directory.refresh()
    engine.dispose()
    entry = directory.find(username)
    return entry is not None and entry.record_of(secret) is not None


def listed(data: Path, group: str) -> list[dict[str, Any]]:
    found = json.loads(dashfleet(group, "list", "--data", str(data), "--json").stdout)
    assert isinstance(found, list)
    return found


def test_an_organisation_is_configured_and_shown(data: Path) -> None:
    at = ("--data", str(data))
    dashfleet("org", "add", "acme", *at)
    done = dashfleet("org", "configure", "acme", "time_to_live_seconds=2d", "cpu_knee_percent=65", *at)
    assert done.stdout == "time_to_live_seconds 1 d → 2 d, cpu_knee_percent 50 % → 65 %\n"
    assert "Nothing changed" in dashfleet("org", "configure", "acme", "cpu_knee_percent=65", *at).stdout
    shown = dashfleet("org", "configure", "acme", *at).stdout
    assert re.search(r"time_to_live_seconds +2 d +Long offline after no data for", shown)
    values = json.loads(dashfleet("org", "configure", "acme", "--json", *at).stdout)
    assert (values["time_to_live_seconds"], values["keep_samples_seconds"]) == (172_800, 172_800)
    assert "no organisation nowhere" in refusal("org", "configure", "nowhere", *at)
    assert "is not a valid SETTING=VALUE" in refusal("org", "configure", "acme", "colour=red", *at)
    assert "not a duration" in refusal("org", "configure", "acme", "stale_seconds=soon", *at)
    assert "cpu_weight must be a number" in refusal("org", "configure", "acme", "cpu_weight=much", *at)
    assert "cpu_weight: " in refusal("org", "configure", "acme", "cpu_weight=nan", *at)
    assert "must sum to 1" in refusal("org", "configure", "acme", "cpu_weight=0.9", *at)


def test_an_organisation_comes_and_goes(data: Path) -> None:
    assert dashfleet("org", "add", "acme", "--data", str(data)).returncode == 0
    assert [row["org"] for row in listed(data, "org")] == ["acme"]
    assert "acme" in dashfleet("org", "list", "--data", str(data)).stdout
    assert "acme already" in refusal("org", "add", "acme", "--data", str(data))
    code, shown = at_a_terminal("org", "remove", "acme", "--data", str(data), typing=["n"])
    assert code != 0, shown
    assert [row["org"] for row in listed(data, "org")] == ["acme"]
    assert dashfleet("org", "remove", "acme", "--yes", "--data", str(data)).returncode == 0
    assert listed(data, "org") == []


def test_a_principal_is_added_rotated_and_revoked_and_its_secret_is_alone_on_standard_output(data: Path) -> None:
    dashfleet("org", "add", "acme", "--data", str(data))
    first = dashfleet("principal", "add", "grafana", "--role", "reader", "--org", "acme", "--data", str(data)).stdout
    assert fits(data, "acme._grafana", first.strip())
    second = dashfleet("principal", "rotate", "acme._grafana", "--overlap", "1h", "--data", str(data)).stdout
    assert [fits(data, "acme._grafana", secret.strip()) for secret in (first, second)] == [True, True]
    third = dashfleet("principal", "rotate", "acme._grafana", "--overlap", "0", "--data", str(data)).stdout
    assert [fits(data, "acme._grafana", secret.strip()) for secret in (first, second, third)] == [False, False, True]
    assert dashfleet("principal", "revoke", "acme._grafana", "--data", str(data)).returncode == 0
    assert not fits(data, "acme._grafana", third.strip())
    assert listed(data, "principal")[0]["revoked"] is not None
    assert not [secret for secret in (first, second, third) if secret.strip() in str(listed(data, "principal"))]


def test_a_token_is_alone_on_standard_output_and_the_line_to_run_beside_it(data: Path) -> None:
    dashfleet("org", "add", "acme", "--data", str(data))
    done = dashfleet("token", "create", "--org", "acme", "--uses", "2", "--expires", "15m", "--data", str(data))
    token = Token.parse(done.stdout)
    assert fits(data, f"acme._{token.name}", token.secret)
    assert "dashfleet agent enrol --server" in done.stderr
    assert token.secret not in done.stderr
    (row,) = listed(data, "token")
    assert (row["uses"], row["used"]) == (2, 0)
    assert token.secret not in dashfleet("token", "list", "--data", str(data)).stdout
    assert dashfleet("token", "revoke", row["token"], "--data", str(data)).returncode == 0
    assert not fits(data, f"acme._{token.name}", token.secret)


def test_what_cannot_be_done_about_access_is_one_sentence(data: Path) -> None:
    at = ["--data", str(data)]
    assert "no organisation nowhere" in refusal("token", "create", "--org", "nowhere", *at)
    assert "no organisation nowhere" in refusal("principal", "add", "x", "--role", "reader", "--org", "nowhere", *at)
    assert "no organisation nowhere" in refusal("org", "remove", "nowhere", "--yes", *at)
    assert "no principal home.x" in refusal("principal", "revoke", "home.x", *at)
    assert "no token home._x" in refusal("token", "revoke", "home._x", *at)
    assert "not a duration" in refusal("token", "create", "--expires", "soon", *at)
    assert "cannot be an organisation" in refusal("org", "add", "Acme_1", *at)


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


# People.


def at_a_terminal(*arguments: str, typing: Sequence[str]) -> tuple[int, str]:
    """Run a command at a terminal and type each of these lines when it asks; its exit code, and what was shown."""
    ours, theirs = os.openpty()
    argv = [sys.executable, "-m", "dashfleet", *arguments]
    shown, waiting = "", list(typing)
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 1024):
                shown += chunk.decode()
                if waiting and shown.endswith(": "):
                    os.write(ours, f"{waiting.pop(0)}\n".encode())
    os.close(ours)
    return process.returncode, shown


def people(data: Path) -> list[dict[str, str]]:
    found = json.loads(dashfleet("user", "list", "--data", str(data), "--json").stdout)
    assert isinstance(found, list)
    return found


def signs_in(data: Path, name: str, password: str) -> bool:
    engine = open_auth_database(StateDirectory(data).people_url)
    try:
        return verify(engine, name, password) is not None
    finally:
        engine.dispose()


def test_somebody_is_added_with_a_password_that_is_typed_and_not_shown(tmp_path: Path) -> None:
    typed = ["correct horse battery"] * 2
    code, shown = at_a_terminal(
        "user", "add", "ada", "--role", "operator", "--org", "acme", "--data", str(tmp_path), typing=typed
    )
    assert code == 0, shown
    assert typed[0] not in shown
    assert people(tmp_path) == [{"name": "ada", "role": "operator", "org": "acme"}]
    assert signs_in(tmp_path, "ada", typed[0])
    assert "ada" in dashfleet("user", "list", "--data", str(tmp_path)).stdout


def test_a_lost_password_is_replaced_by_one_that_is_made_and_shown_once(tmp_path: Path) -> None:
    first = dashfleet("user", "add", "admin", "--role", "admin", "--generate", "--data", str(tmp_path))
    second = dashfleet("user", "password", "admin", "--generate", "--data", str(tmp_path))
    assert (first.returncode, second.returncode) == (0, 0)
    assert not signs_in(tmp_path, "admin", first.stdout.strip())
    assert signs_in(tmp_path, "admin", second.stdout.strip())


def test_a_password_is_replaced_by_one_that_is_typed(tmp_path: Path) -> None:
    dashfleet("user", "add", "ada", "--generate", "--data", str(tmp_path))
    typed = ["another horse battery"] * 2
    code, shown = at_a_terminal("user", "password", "ada", "--data", str(tmp_path), typing=typed)
    assert code == 0, shown
    assert signs_in(tmp_path, "ada", typed[0])


def test_somebody_is_removed(tmp_path: Path) -> None:
    dashfleet("user", "add", "ada", "--generate", "--data", str(tmp_path))
    assert dashfleet("user", "remove", "ada", "--data", str(tmp_path)).returncode == 0
    assert people(tmp_path) == []


def test_what_cannot_be_done_with_people_is_one_sentence_without_a_password(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    dashfleet("user", "add", "ada", "--generate", *data)
    assert "there is no user bob" in refusal("user", "password", "bob", *data)
    assert "there is no user bob" in refusal("user", "remove", "bob", *data)
    assert "ada already" in refusal("user", "add", "ada", "--generate", *data)
    assert "there is no role root" in refusal("user", "add", "bob", "--role", "root", "--generate", *data)
    assert dashfleet("user", "add", "ada", "--generate", *data).stdout == ""


# Enrolling.


def test_a_token_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    sentence = refusal("agent", "enrol", "--data", str(tmp_path), "--server", "mqtt://192.0.2.1", DASHFLEET_TOKEN="x")
    assert "without encryption" in sentence
    assert "mqtts://" in sentence


def test_what_is_no_token_is_one_sentence_that_does_not_repeat_it(tmp_path: Path) -> None:
    sentence = refusal("agent", "enrol", "--data", str(tmp_path), DASHFLEET_TOKEN="do-not-show")
    assert "not a token" in sentence
    assert "do-not-show" not in sentence


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    write_secret(file, f"acme.token-1.{'x' * 43}")
    file.chmod(0o644)
    assert f"chmod 600 {file}" in refusal("agent", "enrol", "--data", str(tmp_path), "--token-file", str(file))


def test_a_machine_that_is_enrolled_says_so_and_asks_for_no_token(tmp_path: Path) -> None:
    layout = StateDirectory(tmp_path)
    (tmp_path / "agent").mkdir()
    layout.enrol({"server": "mqtt://127.0.0.1:1", "org": "acme", "machine": "attic"})
    write_secret(layout.secret("agent"), "made-up")
    done = dashfleet("agent", "enrol", "--data", str(tmp_path))
    assert done.returncode == 0
    assert "already enrolled as acme/attic" in done.stdout
    settings = dashfleet("agent", "--data", str(tmp_path), "--check").stdout
    assert "org = 'acme'" in settings
    assert "machine = 'attic'" in settings
    assert "server = 'mqtt://127.0.0.1:1'" in settings
