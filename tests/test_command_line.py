"""The command line as a person meets it: real processes, their output and exit codes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from servers import free_port
from sqlalchemy import text

from broker.credentials import verify_secret
from broker.principals import TableDirectory
from dashboard.accounts import open_accounts, verify
from ingestor.admin import add_org
from installation import Installation, Options
from schemas.database import open_engine, upgrade
from schemas.layout import Layout
from schemas.settings import write_secret
from schemas.version import VERSION

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
    engine = open_engine(Layout(tmp_path).database_url)
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
    assert f"port {taken} is taken" in sentence
    assert option in sentence


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    sentence = refusal("up", "--data", str(tmp_path / "file" / "below"))
    assert "cannot write in" in sentence
    assert "--data" in sentence


@pytest.mark.parametrize("command", ["up", "ingestor", "broker", "dashboard", "machines"])
def test_a_database_of_a_newer_version_is_one_sentence(command: str, data: Path) -> None:
    engine = open_engine(Layout(data).database_url)
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
    secret = Layout(data).secret("ingestor")
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


def test_watch_says_when_there_is_no_secret(tmp_path: Path) -> None:
    assert "secret" in refusal("watch", "--data", str(tmp_path))


def test_adding_a_machine_prints_a_secret_that_lets_it_connect(data: Path) -> None:
    engine = open_engine(Layout(data).database_url)
    add_org(engine, "home", now=lambda: 0)
    done = dashfleet("machine", "add", "attic", "--data", str(data))
    assert done.returncode == 0
    directory = TableDirectory(engine)
    directory.refresh()
    entry = directory.find("home.attic")
    assert entry is not None
    assert verify_secret(done.stdout.strip(), entry.secret_hash)
    engine.dispose()
    assert "already" in refusal("machine", "add", "attic", "--data", str(data))


def test_a_machine_cannot_be_added_with_a_wrong_name_or_to_no_organisation(data: Path) -> None:
    assert "cannot be a machine" in refusal("machine", "add", "Attic_1", "--data", str(data))
    assert "no organisation" in refusal("machine", "add", "attic", "--org", "nowhere", "--data", str(data))


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
    for part in Installation(Layout(data), options, "attic")._parts():
        command = part.argv[: part.argv.index(part.name)]
        done = subprocess.run([*command, "--version"], cwd=hostile, capture_output=True, text=True, check=False)
        assert done.stdout == f"dashfleet {VERSION}\n", done.stderr


@pytest.mark.parametrize("command", [["ingestor"], ["broker"], ["dashboard"], ["machines"], ["machine", "add", "x"]])
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
    engine = open_accounts(Layout(data).people_url)
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
