"""`dashfleet act`, `dashfleet commands` and `dashfleet key`: output and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from answering import INGESTOR, Answerer, Ending, answering
from brokers import PASSWORD, embedded_broker
from command_line import at_a_terminal
from seeding import INFO, Fleet
from sqlalchemy import Engine
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.client.request_client import OPERATOR_NAME
from cli.act.progress import CommandProgress
from ingestor.admin.key_changes import list_keys
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from schemas.contract.commands import Act, Order
from schemas.contract.signing import open_signed, public_key
from schemas.database.engine import open_engine, upgrade

OPERATOR = Principal(Role.OPERATOR, "home", OPERATOR_NAME)
LEVELS = {"title": "Level", "enum": ["info", "warning"], "type": "string", "default": "info"}
MESSAGE = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 200}, "level": LEVELS},
    "required": ["text"],
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
ACTIONS = [
    {"name": "ping", "title": "Ping", "arguments_schema": NOTHING},
    {"name": "message", "title": "Show a message", "arguments_schema": MESSAGE},
]
REBOOT = {"name": "reboot", "title": "Reboot", "arguments_schema": NOTHING}


def now() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Installed:
    """A state directory with a fleet, a signing key and an operator's secret."""

    data: Path
    engine: Engine
    server: str = "mqtt://127.0.0.1:1"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*arguments), capture_output=True, text=True, timeout=60, check=False, env=ENV)

    def argv(self, *arguments: str) -> list[str]:
        reaching = arguments[0] == "act" or arguments[:2] == ("commands", "cancel")
        server = ["--server", self.server] if reaching else []
        return [sys.executable, "-m", "dashfleet", *arguments, "--data", str(self.data), *server]

    def refusal(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()[-1]


ENV = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    layout = StateDirectory(tmp_path)
    engine = open_engine(layout.database_url)
    upgrade(engine)
    fleet = Fleet(engine, now=now())
    for i in range(3):
        fleet.machine(f"web-{i}", info={**INFO, "actions": [*ACTIONS, REBOOT]}, labels={"site": "paris"})
    fleet.machine("till", info={**INFO, "actions": ACTIONS}, labels={"site": "paris"}, presence="offline")
    fleet.machine("old", info=INFO)
    fleet.org("empty")
    write_secret(layout.secret("act"), PASSWORD)
    installed = Installed(tmp_path, engine)
    assert installed.run("key", "create").returncode == 0
    yield installed
    engine.dispose()


@contextmanager
def served(installed: Installed, **options: Any) -> Iterator[Answerer]:  # noqa: ANN401
    secrets = {OPERATOR: PASSWORD, INGESTOR: PASSWORD}
    with (
        embedded_broker(secrets) as broker,
        answering(installed.engine, broker.address, PASSWORD, now=now, **options) as answerer,
    ):
        installed.server = f"mqtt://127.0.0.1:{broker.port}"
        wait_until(lambda: answerer.transport.connected, what="the ingestor's connection")
        yield answerer


def fails_on(machine: str) -> Any:  # noqa: ANN401
    def ending(order: dict[str, Any]) -> Ending:
        if order["machine"] == machine:
            return {"state": "failed", "reason": "exit", "detail": "it did \x1b[31mnot work", "exit_code": 3}
        return {"state": "succeeded", "output": "done\n\x1b]0;owned\x07"}

    return ending


# Acting.


def test_acting_succeeds_on_every_machine_that_is_named(installed: Installed) -> None:
    with served(installed) as ingestor:
        done = installed.run("act", "message", "web-0", "till", "text=Back at five", "--wait", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "web-0  succeeded" in done.stdout
    assert done.stdout.endswith("2 succeeded\n")
    (request,) = ingestor.heard
    assert isinstance(request.change, Act)
    key = public_key((installed.data / "secrets" / "signing" / "home").read_text().strip())
    orders = [open_signed(signed, key, Order) for signed in request.change.orders]
    assert [(order.machine, order.arguments) for order in orders] == [
        ("till", {"text": "Back at five"}),
        ("web-0", {"text": "Back at five"}),
    ]
    assert request.actor


def test_one_that_does_not_succeed_makes_the_exit_code_1(installed: Installed) -> None:
    with served(installed, ending=fails_on("web-1")):
        done = installed.run("act", "ping", "web-0", "web-1", "--wait", "--yes")
    assert done.returncode == 1
    assert "web-1  failed  it did" in done.stdout
    assert "\x1b" not in done.stdout


def test_no_outcome_in_time_is_exit_code_3(installed: Installed) -> None:
    with served(installed, ending=lambda _: {"state": "sent"}):
        done = installed.run("act", "ping", "web-0", "--wait", "--timeout", "1s")
    assert done.returncode == 3
    assert "1 sent" in done.stdout


def test_a_refused_request_is_exit_code_1_with_the_reason(installed: Installed) -> None:
    with served(installed, refusal="not your fleet"):
        done = installed.run("act", "ping", "web-0")
    assert done.returncode == 1
    assert "refused  not your fleet" in done.stdout


def test_without_waiting_it_ends_when_the_request_is_accepted(installed: Installed) -> None:
    with served(installed, ending=lambda _: {"state": "sent"}):
        done = installed.run("act", "ping", "web-0")
    assert done.returncode == 0
    assert "accepted" in done.stderr


def test_for_programs_the_outcome_is_json(installed: Installed) -> None:
    with served(installed, ending=fails_on("web-1")):
        done = installed.run("act", "ping", "--label", "site=paris", "--status", "online", "--wait", "--yes", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 1
    assert {row["machine"]: row["state"] for row in rows} == {
        "web-0": "succeeded",
        "web-1": "failed",
        "web-2": "succeeded",
    }
    assert rows[1]["exit_code"] == 3
    assert set(rows[0]) == {"command", "machine", "state", "reason", "detail", "exit_code", "output"}


def test_a_dry_run_says_what_would_be_asked_and_sends_nothing(installed: Installed) -> None:
    done = installed.run("act", "reboot", "--all", "--dry-run", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        {"machine": f"web-{i}", "presence": "online", "action": "reboot", "arguments": {}} for i in range(3)
    ]
    assert "skipped, as they do not allow it: 2 machines (old, till)" in done.stderr
    assert "nothing was sent" in installed.run("act", "ping", "till", "--dry-run").stderr


def test_a_reboot_of_several_is_typed_at_a_terminal_after_its_plan(installed: Installed) -> None:
    words = ["act", "reboot", "--all", "--data", str(installed.data), "--server", installed.server]
    code, shown = at_a_terminal(*words, typing=["2"])
    assert code == 2
    assert "on 3 machines" in shown
    assert "site=paris: web-0, web-1, web-2" in shown
    assert "Pace: all at once" in shown
    assert "Type 3 to confirm" in shown
    assert "nothing was sent" in shown


def test_all_at_once_contradicts_a_pace(installed: Installed) -> None:
    assert "--all-at-once contradicts" in installed.refusal("act", "ping", "--all", "--all-at-once", "--canary", "1")


def test_ctrl_c_says_what_goes_on(installed: Installed) -> None:
    with served(installed, ending=lambda _: {"state": "sent"}) as ingestor:
        argv = installed.argv("act", "ping", "web-0", "--wait")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as process:
            wait_until(lambda: ingestor.heard, what="the request")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "commands that were sent continue" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["web-0=1"], "the action must come first"),
        (["ping"], "no machines given: name them"),
        (["ping", "web-0", "--all"], "not both"),
        (["ping", "nobody"], "home has no machine nobody: dashfleet machines lists them"),
        (["message", "web-0", "hello there"], "home has no machine hello there: an argument is written NAME=VALUE"),
        (["ping", "--label", "site=rome"], "no machine matches"),
        (["ping", "--label", "paris"], "must look like name=value"),
        (["reboot", "web-0", "till"], "till does not allow reboot; allowed by all of them: message, ping"),
        (["ping", "old"], "old does not allow ping; no action is allowed by all of them"),
        (["dance", "--all"], "not allow dance"),
        (["message", "web-0"], "message: the argument text is missing"),
        (["message", "web-0", "text="], "text must have 1 character at least"),
        (["message", "web-0", "text=a", "level=loud"], "level must be one of info, warning"),
        (["message", "web-0", "text=a", "text=b"], "text is given twice"),
        (["message", "web-0", "txt=a"], "there is no argument txt: it takes text, level"),
        (["ping", "web-0", "web-1"], "needs confirmation"),
        (["reboot", "web-0"], "needs confirmation"),
        (["ping", "web-0", "--expires", "soon"], "is not a duration"),
        (["ping", "web-0", "--expires", "31d"], "must be at most 30 days"),
        (["ping", "x", "--org", "nowhere"], "no organisation nowhere"),
        (
            ["ping", "web-0", "--key", "/nowhere"],
            "there is no signing key /nowhere: create one with dashfleet key create",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(installed: Installed, words: list[str], sentence: str) -> None:
    assert sentence in installed.refusal("act", *words)


def test_a_broker_that_says_no_is_one_sentence(installed: Installed) -> None:
    with served(installed):
        write_secret(StateDirectory(installed.data).secret("act"), "another")
        sentence = installed.refusal("act", "ping", "web-0")
    assert "rejected the operator's credential" in sentence
    assert "dashfleet principal add act --role operator --org home" in sentence
    assert "DASHFLEET_ACT_PASSWORD" in sentence


def test_without_a_broker_the_time_limit_holds(installed: Installed) -> None:
    started = time.monotonic()
    assert "cannot reach the broker" in installed.refusal("act", "ping", "web-0", "--wait", "--timeout", "3s")
    assert time.monotonic() - started < 15


def test_an_older_state_from_the_database_is_not_shown_again() -> None:
    command = CommandProgress("1", "web-0")
    states = ("queued", "running", "queued", "running", "succeeded", "running")
    reported = {"reason": "", "detail": "", "exit_code": None, "output": None}
    assert [command.advance({"state": state, **reported}) for state in states] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]


def test_commands_are_listed_shown_and_cancelled(installed: Installed) -> None:
    with served(installed, ending=lambda _: {"state": "queued", "output": "one\n\x1b[2Jtwo"}):
        (row,) = json.loads(installed.run("act", "ping", "web-0", "--json").stdout)
        id_ = row["command"]
        (listed,) = json.loads(installed.run("commands", "--json").stdout)
        assert (listed["id"], listed["state"], listed["machine"]) == (id_, "queued", "web-0")
        assert id_ in installed.run("commands", "--machine", "web-0").stdout
        assert id_ not in installed.run("commands", "--state", "failed").stdout
        assert json.loads(installed.run("commands", "show", id_, "--json").stdout)["history"][0]["after"] == "queued"
        shown = installed.run("commands", "show", id_).stdout
        assert "ping on home/web-0: queued" in shown
        assert "\x1b" not in shown
        assert "there is no command" in installed.refusal("commands", "show", "0" * 32)
        assert "there is no command" in installed.refusal("commands", "cancel", "0" * 32)
        done = installed.run("commands", "cancel", id_)
        assert (done.returncode, done.stdout) == (0, f"{id_}  cancelled\n")


# Keys.


def test_the_first_key_is_made_with_a_file_that_only_its_owner_can_read(installed: Installed) -> None:
    kept = installed.data / "secrets" / "signing" / "home"
    assert kept.stat().st_mode & 0o777 == 0o600
    (key,) = json.loads(installed.run("key", "list", "--json").stdout)
    assert (key["revoked_at"], key["in_force"]) == (None, True)
    assert kept.read_text().strip() not in installed.run("key", "list").stdout
    assert "already contains a key: choose another file with --file" in installed.refusal("key", "create")


def test_a_later_key_is_signed_by_one_that_is_held_and_may_end_it(installed: Installed, tmp_path: Path) -> None:
    second = tmp_path / "second"
    made = installed.run("key", "create", "--file", str(second), "--name", "Ada", "--expires", "90d")
    assert made.returncode == 0, made.stderr
    first = list_keys(installed.engine, "home", now=now)[0]["id"]
    assert installed.run("key", "revoke", first, "--signed-by", str(second)).returncode == 0
    states = {key["id"]: key["in_force"] for key in list_keys(installed.engine, "home", now=now)}
    assert states == {first: False, made.stdout.strip(): True}
    assert "is not in force" in installed.refusal("key", "create", "--file", str(tmp_path / "third"))
    assert not (tmp_path / "third").exists()


def test_without_the_file_that_must_sign_it_says_so(installed: Installed, tmp_path: Path) -> None:
    (installed.data / "secrets" / "signing" / "home").rename(tmp_path / "elsewhere")
    assert "name it with --signed-by" in installed.refusal("key", "create", "--file", str(tmp_path / "new"))
    assert "no organisation nowhere" in installed.refusal("key", "create", "--org", "nowhere")
    assert "invalid organisation" in installed.refusal("key", "create", "--org", "../x")
