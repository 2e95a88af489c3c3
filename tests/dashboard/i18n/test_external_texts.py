import ast
from pathlib import Path

import pytest

import agent.actions
import agent.collectors
from agent.action import discover as discover_actions
from agent.collector import discover, discover_details
from dashboard.api import tokens
from dashboard.auth import passwords, users
from dashboard.i18n import external_texts, text
from dashboard.i18n.language import speaking
from runtime import durations
from runtime.sentences import validation_errors
from runtime.settings.agent import AgentSettings
from runtime.translatable import Translatable
from schemas.actions import action_schema
from schemas.actions.action_schema import ArgumentError, ArgumentField, read_fields
from schemas.people import destinations


def test_every_sentence_of_the_shared_code_is_known() -> None:
    said = set()
    for module in (action_schema, durations, validation_errors):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(("{", "th")):
                said.add(node.value)
    said.add("{lower} may not be more than {upper}")  # of schemas.fleet.organisation
    assert {each for each in said if "{" in each and '"' not in each} == {
        each.message for each in external_texts.TEMPLATES
    }


def test_every_rule_for_a_name_is_known() -> None:
    said = set()
    for module in (users, tokens, destinations):
        names = {
            node.targets[0].id: node.value.value
            for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text()))
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Translatable":
                (template, *_rest) = node.args
                said.add(names[template.id] if isinstance(template, ast.Name) else ast.literal_eval(template))
    assert said == {each.message for each in external_texts.ACCOUNT_RULES}


def test_every_rule_for_a_password_is_known() -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(Path(str(passwords.__file__)).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Translatable"
    ]
    said = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}
    assert len(calls) == len(said)
    assert said == {each.message for each in external_texts.PASSWORD_RULES}


def test_a_sentence_is_retold_with_its_values() -> None:
    field = ArgumentField(name="count", title="Count", kind="integer", least=1)
    assert field.fault(0) == "count must be at least 1"
    with speaking("fr"):
        assert external_texts.translated_error(field.fault(0)) == "count doit valoir au moins 1"
        assert external_texts.translated_error(ArgumentError(field.fault(0))) == "count doit valoir au moins 1"
    with speaking("ru"), pytest.raises(ValueError, match="not a duration") as caught:
        durations.seconds("soon")
    with speaking("ru"):
        assert external_texts.translated_error(caught.value).startswith("'soon'")
        assert external_texts.translated_error("of a third party") == "of a third party"


def test_a_hostile_value_in_a_sentence_stays_a_value() -> None:
    said = Translatable("{name} must be text", name="{0.__class__}")
    with speaking("es"):
        assert external_texts.translated_error(said) == "{0.__class__} debe ser texto"


def test_titles_and_arguments_of_our_own_actions_are_known() -> None:
    said = []
    for action in discover_actions(agent.actions).values():
        said.append(action.title)
        for field in read_fields(action.arguments.model_json_schema()):
            said += [field.title, field.description, *map(str, field.choices)]
    assert {word for word in said if word} <= external_texts.KNOWN


def test_titles_of_our_own_metrics_of_devices_are_known() -> None:
    collectors = discover_details(agent.collectors, AgentSettings(data=Path("unused"), machine="attic"))
    titles = {metric.title for collector in collectors for metric in collector.metrics if metric.device}
    assert len(titles) > 30
    with speaking("ru"):
        assert [title for title in titles - {"GPU"} if external_texts.translated_metric(title) == title] == []


def test_units_of_our_own_metrics_are_known() -> None:
    settings = AgentSettings(data=Path("unused"), machine="attic")
    collectors, details = discover(agent.collectors, settings), discover_details(agent.collectors, settings)
    metrics = [each.metrics for each in collectors] + [each.metrics for each in details]
    units = {metric.unit for group in metrics for metric in group}
    with speaking("ru"):
        assert [unit for unit in units - {"", "count", "percent"} if text.unit_symbol(unit) == unit] == []


def test_a_metric_of_network_traffic_has_words_of_its_own() -> None:
    with speaking("fr"):
        assert external_texts.translated_metric("Sent") == "Envoyé"
        assert external_texts.translated_metric("of a third party") == "of a third party"


def test_what_others_say_stays_as_they_say_it() -> None:
    with speaking("ru"):
        assert external_texts.translated("Fleet") == "Fleet"
