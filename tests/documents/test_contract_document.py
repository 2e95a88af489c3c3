"""`docs/contract.md` names all that travels."""

import inspect
import re
from pathlib import Path

import pytest

from schemas.contract import ack, administration, commands, enrolment, messages, org_config, topics
from schemas.contract.messages import ContractModel, Payload
from schemas.fleet.organisation import SETTINGS

CONTRACT = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
NAMED = set(re.findall(r"`([^`]+)`", CONTRACT))
MODELS = [
    model
    for module in (messages, ack, org_config, enrolment, administration, commands)
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, ContractModel) and model.__module__ == module.__name__
]
MESSAGES = [model for model in MODELS if issubclass(model, Payload) and model is not Payload]


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.pattern)
def test_every_topic_is_in_the_contract_with_its_qos_and_retain_flag(topic: topics.Topic) -> None:
    retained = "yes" if topic.retain else "no"
    assert f"| `{topic.pattern}` | {topic.qos} | {retained} |" in CONTRACT


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_in_the_contract(model: type[ContractModel]) -> None:
    missing = set(model.model_fields) - NAMED
    assert not missing, f"docs/contract.md does not name {sorted(missing)} of {model.__name__}"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_field_of_a_message_is_in_its_own_section(message: type[Payload]) -> None:
    name = message.__name__.removesuffix("Message")
    section = CONTRACT.partition(f"### {name}\n")[2].partition("\n### ")[0]
    missing = set(message.model_fields) - set(re.findall(r"`([^`]+)`", section))
    assert not missing, f"the section {message.__name__} does not name {sorted(missing)}"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_message_says_what_it_is(model: type[ContractModel]) -> None:
    assert model.__doc__


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_an_organisation_is_in_the_contract(setting: str) -> None:
    assert setting in NAMED


def test_every_reason_and_state_is_in_the_contract() -> None:
    for word in ("lost", "stopped", "restarting", "rebooting", "asleep", "online", "offline"):
        assert f'`"{word}"`' in CONTRACT
