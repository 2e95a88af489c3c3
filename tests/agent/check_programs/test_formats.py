"""The output of checks in each format, performance data with their units, and text files."""

import json
import os
import threading
from pathlib import Path

import pytest

from agent.check_programs.formats import parse
from agent.check_programs.performance_data import parse_performance_data
from agent.check_programs.result import READINGS_MAX, CheckResult
from agent.check_programs.text_files import FILE_MAX_BYTES, read_directory


@pytest.mark.parametrize(
    ("text", "label", "metric", "value"),
    [
        ("load1=0.250;5.000;10.000;0;", "load1", "check_value", 0.25),
        ("/=2643MB;5948;5958;0;5968", "/", "check_bytes", 2643 * 1024**2),
        ("'C: Label'=12KiB", "C: Label", "check_bytes", 12 * 1024),
        ("'it''s'=1", "it's", "check_value", 1.0),
        ("pl=0%;20;60;;", "pl", "check_percent", 0.0),
        ("rta=0.295000ms;100;200;0", "rta", "check_seconds", 0.000295),
        ("time=812us", "time", "check_seconds", 0.000812),
        ("age=29616s;9;9", "age", "check_seconds", 29616.0),
        ("packets=1234c", "packets", "check_count", 1234.0),
        ("size=1,5kB", "size", "check_bytes", 1536.0),
        ("gap=U;1;2", "gap", "check_value", None),
        ("temp=21C", "temp", "check_value", 21.0),
        ("n=-1.5e3", "n", "check_value", -1500.0),
        ("procs=156;0:100000;;0;", "procs", "check_value", 156.0),
    ],
)
def test_a_reading_is_converted_to_its_unit(text: str, label: str, metric: str, value: float | None) -> None:
    (found,) = parse_performance_data(text).items()
    assert found == (label, (metric, pytest.approx(value) if value is not None else None))


def test_what_is_no_performance_data_costs_nothing_but_itself_and_their_number_is_bounded() -> None:
    found = parse_performance_data("nonsense =5 a=1 b=x c=2;;; 'open=3 d=4")
    assert {label: each.value for label, each in found.items()} == {"a": 1.0, "c": 2.0, "d": 4.0}
    assert len(parse_performance_data(" ".join(f"a{number}={number}" for number in range(1000)))) == READINGS_MAX
    assert parse_performance_data("=" * 100_000) == {}


@pytest.mark.parametrize(
    ("code", "state"), [(0, "good"), (1, "fair"), (2, "critical"), (3, "unknown"), (127, "unknown")]
)
def test_the_exit_code_of_a_plug_in_is_its_state(code: int, state: str) -> None:
    found = parse("nagios", code, "DISK x - free | /=1B\nlong text | /home=2B\n/var=3B")
    assert (found[""].state, found[""].text) == (state, "DISK x - free")
    assert [each.value for each in found[""].readings.values()] == [1.0, 2.0, 3.0]


def test_lines_are_services_with_states_or_levels_and_what_is_none_is_unknown() -> None:
    output = (
        '0 "My queue" length=42;50;100|age=7 All good\n2 disk - Full\nP cpu load=9;5;10\nP ram used=11;5;10\nnonsense'
    )
    found = parse("lines", 0, output)
    assert {name: (each.state, each.text) for name, each in found.items()} == {
        "My queue": ("good", "All good"),
        "disk": ("critical", "Full"),
        "cpu": ("fair", ""),
        "ram": ("critical", ""),
    }
    assert found["My queue"].readings["age"].value == 7.0
    assert parse("lines", 0, "")[""].state == "unknown"
    assert parse("lines", 1, "0 a - fine")[""].state == "unknown"


def test_json_names_state_text_and_values_and_anything_else_is_unknown() -> None:
    values = {"waiting": 3, "size_bytes": 5, "no": None, "b": True}
    output = json.dumps({"state": "warning", "text": "3 wait\nmore", "values": values})
    (found,) = parse("json", 0, output).values()
    assert (found.state, found.text) == ("fair", "3 wait")
    assert found.readings["size_bytes"] == ("check_bytes", 5.0)
    assert (found.readings["no"].value, found.readings["b"].value) == (None, None)
    several = parse("json", 0, '[{"name": "a", "state": 0}, {"name": "b", "state": 2}, 5]')
    assert {name: each.state for name, each in several.items()} == {"a": "good", "b": "critical"}
    for wrong in ("", "ok", "5", '{"state": "fine"}', '{"state": true}', "[" * 5000):
        assert parse("json", 0, wrong)[""].state == "unknown"
    assert parse("json", 2, '{"text": "x"}')[""].state == "critical"


def test_text_files_are_read_as_node_exporter_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.prom").write_text(
        '# HELP backup_age_seconds Age\nbackup_age_seconds{job="db",path="/a}b"} 86.5\n'
        "jobs_total 7 1700000000000\nx NaN\n"
    )
    (tmp_path / "b.prom").write_text("half_a_li")
    (tmp_path / "c.prom").write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    (tmp_path / "d.txt").write_text("ignored 1")
    found = read_directory(tmp_path)
    assert {name: each.state for name, each in found.items()} == {
        "a.prom": "good", "b.prom": "unknown", "c.prom": "unknown",
    }  # fmt: skip
    assert found["a.prom"].readings == {
        'backup_age_seconds{job="db",path="/a}b"}': ("check_seconds", 86.5),
        "jobs_total": ("check_count", 7.0),
        "x": ("check_value", None),
    }
    assert found["b.prom"].text == "line 1 is invalid"


@pytest.mark.parametrize(
    ("format_", "output"),
    [
        ("nagios", "OK | a=1e400"),
        ("nagios", f"OK | a=-{'9' * 400}"),
        ("lines", "0 x a=1e400 text"),
        ("json", '{"state": 0, "values": {"a": 1e400}}'),
        ("json", '{"state": 0, "values": {"a": NaN}}'),
        ("json", f'{{"state": 0, "values": {{"a": {"9" * 400}}}}}'),
    ],
)
def test_a_number_that_no_reading_can_be_is_null_and_costs_nothing_but_itself(format_: str, output: str) -> None:
    (found,) = parse(format_, 0, output).values()
    assert (found.state, {label: each.value for label, each in found.readings.items()}) == ("good", {"a": None})


@pytest.mark.parametrize("state", ["9" * 5000, "²", "٢", "-1", ""])
def test_a_state_that_is_none_is_unknown(state: str) -> None:
    assert parse("json", 0, json.dumps({"state": state}))[""].state == "unknown"


def test_only_regular_files_are_read_as_text_files_and_nothing_else_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.prom")
    (tmp_path / "b.prom").symlink_to("/dev/zero")
    (tmp_path / "c.prom").mkdir()
    (tmp_path / "d.prom").write_text("x 1")
    found: list[dict[str, CheckResult]] = []
    reading = threading.Thread(target=lambda: found.append(read_directory(tmp_path)), daemon=True)
    reading.start()
    reading.join(30)
    assert found, "reading the directory waits for the other end of a pipe"
    assert {name: (each.state, each.text) for name, each in found[0].items()} == {
        "a.prom": ("unknown", "is no regular file"), "b.prom": ("unknown", "is no regular file"),
        "c.prom": ("unknown", "cannot be read: Is a directory"), "d.prom": ("good", ""),
    }  # fmt: skip
