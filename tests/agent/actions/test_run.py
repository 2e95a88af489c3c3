"""Commands of the owner: no shell, no splitting of arguments, no process left after the time limit."""

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest, RecordingContext, id_of, recorded, recorder
from clocks import Clock
from injections import INJECTIONS, OWNED
from waiting import wait_until

from agent.action import ActionContext, Outcome
from agent.actions.run import RunArguments, run
from agent.host.calls import process_reaper
from schemas.actions.named_commands import CommandLine, ParameterError
from schemas.contract.commands import OUTPUT_MAX

pytestmark = pytest.mark.skipif(os.name != "posix", reason="commands run on Linux and macOS")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reap its descendants")


def ordered(clock: Clock, argv: list[str], *, values: dict[str, str] | None = None, **line: Any) -> Outcome:  # noqa: ANN401
    """Run a command line under the name `it`."""
    context: ActionContext = RecordingContext(clock, commands={"it": CommandLine(argv=argv, **line)})
    found = run.run(RunArguments(command="it", parameters=values or {}), context)
    assert found is not None
    return found


def python(code: str) -> list[str]:
    return [sys.executable, "-ISc", textwrap.dedent(code)]


def test_it_says_how_the_command_ended_and_what_it_printed(clock: Clock) -> None:
    fine = ordered(clock, python("import sys; print('out'); print('err', file=sys.stderr, flush=True)"))
    bad = ordered(clock, python("import sys; print('oh', flush=True); sys.exit(3)"))
    killed = ordered(clock, python("import os; os.kill(os.getpid(), 9)"))

    assert (fine.state, fine.exit_code, sorted((fine.output or "").split())) == ("succeeded", 0, ["err", "out"])
    assert (bad.state, bad.reason, bad.exit_code, bad.output) == ("failed", "exit-code", 3, "oh\n")
    assert (killed.state, killed.exit_code) == ("failed", -9)


def test_a_program_that_is_not_there_or_cannot_run_has_not_started(clock: Clock, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")

    for program in (tmp_path / "nothing", plain, tmp_path):
        assert ordered(clock, [str(program)]).reason == "not-started"


def test_the_output_is_cut_and_the_command_goes_on(clock: Clock) -> None:
    outcome = ordered(clock, python(f"import sys; sys.stdout.write('x' * {10 * OUTPUT_MAX}); print('the end')"))

    assert (outcome.state, outcome.output_truncated) == ("succeeded", True)
    assert outcome.output == "x" * OUTPUT_MAX


def test_output_that_is_no_text_is_shown_as_far_as_it_is(clock: Clock) -> None:
    outcome = ordered(clock, python(r"import os; os.write(1, b'\xff\x00caf\xc3\xa9\n')"))

    assert outcome.output == "\ufffd\x00café\n"


def test_it_has_no_input_no_secret_and_a_session_of_its_own(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_PASSWORD", "made-up")
    code = """
        import os, sys
        print([n for n in os.environ if n.startswith("DASHFLEET")], repr(sys.stdin.read()), os.getsid(0) == os.getpid())
        print(sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else ["0", "1", "2", "3"])
    """
    outcome = ordered(clock, python(code))

    assert outcome.output == "[] '' True\n['0', '1', '2', '3']\n"  # the last one is the directory listing itself


def test_signals_are_as_a_program_expects_them(clock: Clock) -> None:
    code = """
        import signal
        print([s.name for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
               if signal.getsignal(s) is signal.SIG_IGN])
    """
    checked = ordered(clock, [sys.executable, "-ISc", "import os; os.execv('/bin/sh', ['sh', '-c', 'trap'])"])
    assert checked.output == ""
    assert "SIGTERM" not in (ordered(clock, python(code)).output or "")


# The time limit.


STAY = "import time; open({file!r}, 'a').write(str(__import__('os').getpid()) + '\\n'); time.sleep(600)"
"""A process that notes its id and stays."""


def family(directory: Path) -> str:
    """Every way to escape a parent: child, new session, double fork, ignored signals, and all of them together."""
    stay = STAY.format(file=str(directory / "pids"))
    return f"""
        import os, signal, subprocess, sys, time
        stay = {stay!r}
        subprocess.Popen([sys.executable, "-ISc", stay])
        subprocess.Popen([sys.executable, "-ISc", stay], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                os.closerange(0, 100)
                os.execv(sys.executable, [sys.executable, "-ISc", stay])
            os._exit(0)
        if os.fork() == 0:
            os.setsid()
            subprocess.Popen([sys.executable, "-ISc", stay], start_new_session=True)
            os._exit(0)
        print("started", flush=True)
        exec(stay)
    """


def pids(directory: Path) -> list[int]:
    file = directory / "pids"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def living(directory: Path) -> list[int]:
    """Return the processes of the family that are running and no zombies."""
    found = []
    for pid in pids(directory):
        with suppress(FileNotFoundError, ProcessLookupError):  # it may end at any moment
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(pid)
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid in living(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


@LINUX
def test_after_the_timeout_nothing_of_the_whole_tree_is_left(clock: Clock, directory: Path) -> None:
    started = time.monotonic()
    outcome = ordered(clock, python(family(directory)), timeout_seconds=3)

    assert (outcome.state, outcome.reason, outcome.output) == ("failed", "timeout", "started\n")
    assert len(pids(directory)) == 5
    assert living(directory) == []
    assert time.monotonic() - started < 3 + process_reaper.END_SECONDS


@LINUX
def test_one_that_listens_is_asked_to_end_before_it_is_ended(clock: Clock, directory: Path) -> None:
    code = f"""
        import signal, sys, time
        def end(*_):
            open({str(directory / "asked")!r}, "w").write("yes")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        time.sleep(600)
    """
    outcome = ordered(clock, python(code), timeout_seconds=0.5)

    assert outcome.reason == "timeout"
    assert (directory / "asked").read_text() == "yes"


@LINUX
def test_one_that_makes_children_faster_than_they_end_is_ended(clock: Clock, directory: Path) -> None:
    code = f"""
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        def note(): open({str(directory / "pids")!r}, "a").write(str(os.getpid()) + "\\n")
        note()
        if os.fork():
            time.sleep(600)
        while True:
            if os.fork():
                os._exit(0)  # each lives briefly, in its own session
            os.setsid()
            note()
            time.sleep(0.005)
    """
    ordered(clock, python(code), timeout_seconds=0.5)

    assert len(pids(directory)) > 10
    assert living(directory) == []


@LINUX
def test_when_the_agent_is_gone_the_whole_tree_ends(directory: Path) -> None:
    agent = f"""
        import sys
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from clocks import Clock
        from agent_under_test import RecordingContext
        from agent.actions.run import RunArguments, run
        from schemas.actions.named_commands import CommandLine
        line = CommandLine(argv={python(family(directory))!r}, timeout_seconds=600)
        run.run(RunArguments(command="it"), RecordingContext(Clock(), commands={{"it": line}}))
    """
    process = subprocess.Popen(python(agent))
    wait_until(lambda: len(pids(directory)) == 5, what="the family")
    assert living(directory)
    process.kill()
    process.wait()

    wait_until(lambda: not living(directory), what="the end of the family")


@LINUX
def test_what_a_command_that_ends_by_itself_leaves_running_stays(clock: Clock, directory: Path) -> None:
    stay = STAY.format(file=str(directory / "pids"))
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-ISc', {stay!r}], start_new_session=True)"
    outcome = ordered(clock, python(code))

    assert outcome.state == "succeeded"
    wait_until(lambda: living(directory), what="the process that stays")


# One element of argv stays one.


@pytest.mark.parametrize(
    "value", [text for text in INJECTIONS if "\0" not in text and text[:1] != "-"], ids=lambda text: ascii(text)[:24]
)
def test_a_value_arrives_as_it_is_in_one_element(clock: Clock, tmp_path: Path, value: str) -> None:
    program = recorder(tmp_path, "program")
    line = {"argv": [str(program), "{value}", "--name={value}", "end"], "parameters": {"value": {"pattern": r"(?s).*"}}}
    outcome = ordered(clock, values={"value": value}, **line)  # type: ignore[arg-type]

    assert outcome.state == "succeeded"
    assert recorded(program) == [[value, f"--name={value}", "end"]]
    assert not (tmp_path / OWNED).exists()


@pytest.mark.parametrize(
    "value", ["-x", "--help", "-", "--", "\0", "a\0b", "x" * 1025], ids=lambda value: ascii(value)[:20]
)
def test_what_could_be_an_option_or_no_argument_at_all_is_refused(value: str) -> None:
    line = CommandLine.model_validate({"argv": ["/bin/true", "{v}"], "parameters": {"v": {"pattern": r"(?s).*"}}})

    with pytest.raises(ParameterError):
        line.fill({"v": value})


def test_a_dash_is_let_through_where_the_owner_says_so() -> None:
    parameters = {"v": {"pattern": "-?[0-9]+", "leading_dash": True}}
    line = CommandLine.model_validate({"argv": ["/bin/true", "{v}"], "parameters": parameters})

    assert line.fill({"v": "-5"}) == ["/bin/true", "-5"]


@pytest.mark.parametrize("value", ["nginxx", "xnginx", "nginx\n", "\nnginx", "NGINX", "nginx postgresql", ""])
def test_a_value_matches_the_whole_pattern(value: str) -> None:
    parameters = {"service": {"pattern": "nginx|postgresql"}}
    line = CommandLine.model_validate({"argv": ["/bin/true", "{service}"], "parameters": parameters})

    with pytest.raises(ParameterError, match="service"):
        line.fill({"service": value})


@pytest.mark.parametrize("values", [{}, {"v": "x", "w": "y"}, {"w": "y"}])
def test_exactly_the_parameters_have_values(values: dict[str, str]) -> None:
    line = CommandLine.model_validate({"argv": ["/bin/true", "{v}"], "parameters": {"v": {"pattern": ".*"}}})

    with pytest.raises(ParameterError):
        line.fill(values)


def test_braces_that_are_no_parameter_are_doubled() -> None:
    line = CommandLine.model_validate(
        {"argv": ["/usr/bin/awk", "{{ print ${column} }}"], "parameters": {"column": {"pattern": "[0-9]"}}}
    )

    assert line.fill({"column": "2"}) == ["/usr/bin/awk", "{ print $2 }"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"argv": []}, "at least 1"),
        ({"argv": ["true"]}, "absolute path"),
        ({"argv": ["/bin/{x}"], "parameters": {"x": {"pattern": "."}}}, "absolute path"),
        ({"argv": ["/bin/true", "{x}"]}, "names {x}"),
        ({"argv": ["/bin/true", "a{b"]}, "not a parameter"),
        ({"argv": ["/bin/true", "a\0"]}, "NUL"),
        ({"argv": ["/bin/true"], "parameters": {"x": {"pattern": "."}}}, "does not occur in argv"),
        ({"argv": ["/bin/true", "{x}"], "parameters": {"x": {"pattern": "("}}}, "regular expression"),
        ({"argv": ["/bin/true"], "shell": True}, "Extra inputs"),
    ],
)
def test_a_wrong_command_line_is_refused_at_the_start(line: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        CommandLine.model_validate(line)


# On the wire.


def test_commands_are_described_by_their_names_and_patterns(tmp_path: Path, clock: Clock) -> None:
    parameters = {"service": {"pattern": "nginx|postgresql", "title": "Service"}}
    commands = {"again": {"argv": ["/bin/true", "{service}"], "title": "Restart a service", "parameters": parameters}}
    machine = AgentUnderTest(tmp_path, clock, commands=commands)
    (found,) = [action for action in machine.infos[-1].actions if action.name == "run"]

    (alternative,) = found.arguments_schema["oneOf"]
    assert alternative["title"] == "Restart a service"
    assert alternative["properties"]["command"] == {"const": "again"}
    values = alternative["properties"]["parameters"]
    assert values["properties"]["service"] == {
        "type": "string",
        "pattern": "^(?:nginx|postgresql)$",
        "title": "Service",
    }
    machine.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "other"},
        {"command": "again"},
        {"command": "again", "parameters": {"service": "sshd"}},
        {"command": "again", "parameters": {"service": ["nginx"]}},
        {"command": "again", "parameters": "nginx"},
        {"command": ["again"]},
        {"argv": ["/bin/true"]},
    ],
    ids=str,
)
def test_what_the_owner_did_not_name_is_refused_before_anything_runs(
    tmp_path: Path, clock: Clock, arguments: dict[str, Any]
) -> None:
    program = recorder(tmp_path, "program")
    parameters = {"service": {"pattern": "nginx|postgresql"}}
    commands = {"again": {"argv": [str(program), "{service}"], "parameters": parameters}}
    machine = AgentUnderTest(tmp_path, clock, commands=commands)
    result = machine.outcome(order := machine.operator.order("run", arguments=arguments))

    assert (result.state, result.reason) == ("rejected", "arguments")
    assert "running" not in machine.states(order)
    assert recorded(program) == []
    machine.kill()


def test_a_command_runs_by_an_order(tmp_path: Path, clock: Clock) -> None:
    program = recorder(tmp_path, "program")
    machine = AgentUnderTest(tmp_path, clock, commands={"it": {"argv": [str(program), "fixed"]}})
    machine.send(order := machine.operator.order("run", arguments={"command": "it"}))
    result = machine.final(order)

    assert (result.state, result.exit_code, result.output) == ("succeeded", 0, "recorded\n")
    assert recorded(program) == [["fixed"]]
    assert id_of(order) == result.id
    machine.kill()
