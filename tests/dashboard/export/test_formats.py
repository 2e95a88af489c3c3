import csv
import io
import json

import pytest

from dashboard.export import formats

NAMES = ("machine", "hostname", "cpu_percent", "labels")


def row(hostname: object = None, **given: object) -> dict[str, object]:
    return {"machine": "m", "hostname": hostname, "cpu_percent": None, "labels": None, **given}


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1dcmd|' /C calc'!A0"])
def test_what_a_spreadsheet_would_take_for_a_formula_is_marked_as_text(formula: str) -> None:
    ((_, cell, *_rest),) = read(formats.lines("csv", NAMES, [row(formula)]))
    assert cell == f"'{formula}"


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\ufeff", "\x1b"])
def test_no_character_reverses_or_hides_the_text_around_it(hidden: str) -> None:
    text, marked = f"gpj{hidden}.exe", "gpj\ufffd.exe"
    ((_, cell, _cpu, labels),) = read(formats.lines("csv", NAMES, [row(text, labels={"site": text})]))
    assert (cell, hidden in labels) == (marked, False)


@pytest.mark.parametrize("text", ["a\r=1", "a\n=1", "a\r\n=1", 'a"\r=1'])
def test_no_text_begins_another_line_of_the_file(text: str) -> None:
    assert read(formats.lines("csv", NAMES, [row(text)])) == [["m", text, "", ""]]


def test_what_is_no_formula_stays_as_it_is_and_so_do_negative_numbers() -> None:
    shown = row('say "a", b\nand c', cpu_percent=-1.5, labels={"site": "=paris"})
    assert read(formats.lines("csv", NAMES, [shown])) == [["m", 'say "a", b\nand c', "-1.5", '{"site":"=paris"}']]


def test_what_is_not_there_is_empty_or_null() -> None:
    assert formats.lines("csv", NAMES, [row(labels={})]) == "m,,,\r\n"
    assert json.loads(formats.lines("jsonl", NAMES, [row()])) == row()


def test_json_lines_say_names_themselves_and_take_texts_as_they_are() -> None:
    assert formats.header("jsonl", NAMES) == ""
    assert formats.header("csv", NAMES) == "machine,hostname,cpu_percent,labels\r\n"
    found = formats.lines("jsonl", NAMES, [row("=1"), row("two\nlines")]).splitlines()
    assert [json.loads(line)["hostname"] for line in found] == ["=1", "two\nlines"]
