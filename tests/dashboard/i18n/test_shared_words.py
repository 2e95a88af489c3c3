import ast
from pathlib import Path

import pytest

from dashboard.i18n import shared_words
from dashboard.i18n.language import speaking
from runtime import durations
from runtime.translatable import Translatable
from schemas.contract import action_schema
from schemas.contract.action_schema import ArgumentError, ArgumentField


def test_every_sentence_of_the_shared_code_is_known() -> None:
    said = set()
    for module in (action_schema, durations):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(("{", "th")):
                said.add(node.value)
    assert {each for each in said if "{" in each and '"' not in each} == {each.message for each in shared_words.WORDS}


def test_a_sentence_is_retold_with_its_values() -> None:
    field = ArgumentField(name="count", title="Count", kind="integer", least=1)
    assert field.fault(0) == "count must be at least 1"
    with speaking("fr"):
        assert shared_words.retold(field.fault(0)) == "count doit valoir au moins 1"
        assert shared_words.retold(ArgumentError(field.fault(0))) == "count doit valoir au moins 1"
    with speaking("ru"), pytest.raises(ValueError, match="no length of time") as caught:
        durations.seconds("soon")
    with speaking("ru"):
        assert shared_words.retold(caught.value).startswith("'soon'")
        assert shared_words.retold("of a third party") == "of a third party"


def test_a_hostile_value_in_a_sentence_stays_a_value() -> None:
    said = Translatable("{name} must be text", name="{0.__class__}")
    with speaking("es"):
        assert shared_words.retold(said) == "{0.__class__} debe ser texto"
