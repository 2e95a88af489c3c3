"""Titles of the fields of facts."""

import ast
from pathlib import Path

import pytest

import agent.collectors
from dashboard.facts import texts
from dashboard.facts.field_titles import TITLES
from dashboard.i18n.language import speaking

COLLECTORS = Path(str(agent.collectors.__file__)).parent


def test_every_title_is_that_of_a_field_of_our_own_collectors() -> None:
    said = {
        str(node.value)
        for file in COLLECTORS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
    }
    ends = ("", "_percent", "_bytes", "_days", "_at")
    assert [name for name in TITLES if said.isdisjoint(name + end for end in ends)] == []


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("restart_count", 3, ("Redémarrages", "3")),
        ("read_only", True, ("Lecture seule", "oui")),
        ("memory_bytes", None, ("Mémoire", "–")),
        ("state", "running", ("État", "running")),
        ("of_a_plug_in", "x", ("Of a plug in", "x")),
    ],
)
def test_a_field_has_a_title_in_the_language_of_the_reader(name: str, value: object, shown: tuple[str, str]) -> None:
    with speaking("fr"):
        assert texts.field(name, value) == shown
