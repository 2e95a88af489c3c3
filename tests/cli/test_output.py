"""Output of commands in pipes, in other encodings, and for users without a home directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import dashfleet, refusal
from seeding import Fleet
from sqlalchemy import text

from cli.output import show_rows
from runtime.settings.address import bracketed
from runtime.state_directory import StateDirectory
from schemas.database.engine import open_engine

LONG = "a-machine-with-quite-a-long-name-that-differs-only-at-its-end-"


def fleet(data: Path) -> Fleet:
    return Fleet(open_engine(StateDirectory(data).database_url))


def test_a_table_in_a_pipe_is_not_cut(data: Path) -> None:
    known = fleet(data)
    for number in (1, 2):
        known.machine(f"{LONG}{number}", reason="a reason that takes its room, too")
    known.engine.dispose()
    shown = dashfleet("machines", "--data", str(data), COLUMNS="80").stdout
    assert all(f"{LONG}{number} " in shown for number in (1, 2))
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_text_of_a_machine_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"id": "1", "detail": "exit [/x], [red]not red[/red] and [bold]"}], ("id", "detail"))
    assert "exit [/x], [red]not red[/red] and [bold]" in capsys.readouterr().out


def test_an_encoding_without_the_character_gets_an_escape(data: Path) -> None:
    known = fleet(data)
    known.machine("attic")
    known.engine.dispose()
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "COLUMNS": "80"}
    argv = [sys.executable, "-m", "dashfleet", "machines", "--data", str(data)]
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"attic" in done.stdout


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="takes root to become another user")
def test_a_user_without_a_home_directory_is_told_to_name_one(data: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_DATA_HOME")}
    argv = [sys.executable, "-c", HOMELESS, str(data)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "--data" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


HOMELESS = """
import contextlib, io, os, sys
import dashfleet, platformdirs
directory = sys.argv[1]
sys.argv = ["dashfleet", "machines", "--data", directory]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    dashfleet.main()  # imports what the command needs: the other user may be unable to read it
os.setuid(54321)
sys.argv = ["dashfleet", "machines"]
dashfleet.main()
"""


def test_an_ipv6_address_is_in_brackets() -> None:
    assert bracketed("::1") == "[::1]"
    assert bracketed("127.0.0.1") == "127.0.0.1"


def test_a_command_without_a_database_leaves_none_behind(tmp_path: Path) -> None:
    assert "dashfleet setup" in refusal("token", "create", "--data", str(tmp_path))
    assert "dashfleet setup" in refusal("machines", "--data", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_install_command_has_the_address_for_machines(data: Path) -> None:
    dashfleet("org", "add", "home", "--data", str(data))
    (data / "dashfleet.toml").write_text('[dashboard]\nmachines_server = "mqtts://fleet.example.org:9883"\n')
    assert "--server mqtts://fleet.example.org:9883" in dashfleet("token", "create", "--data", str(data)).stderr


@pytest.mark.parametrize(
    "command",
    [
        ("machines",),
        ("dashboard",),
        ("broker",),
        ("mosquitto",),
        ("ingestor",),
        ("export",),
        ("report",),
        ("backup", "/nowhere/fleet.db"),
        ("principal", "list"),
        ("token", "create"),
        ("setup",),
    ],
)
def test_a_newer_database_is_said_to_be_newer(command: tuple[str, ...], data: Path) -> None:
    engine = open_engine(StateDirectory(data).database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    sentence = refusal(*command, "--data", str(data), DASHFLEET_INGESTOR_PASSWORD="x")
    assert "is newer (revision 9999)" in sentence
    assert "install the version that wrote it" in sentence
    assert "start the ingestor" not in sentence
