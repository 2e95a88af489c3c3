"""The contract for programs: valid by the schemas of AsyncAPI and JSON Schema, complete, and current in `docs/`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import contract_reference
import jsonschema
import pytest
from servers import require_module_of_node
from typer.testing import CliRunner

import dashfleet
from broker.access.asyncapi import asyncapi_document
from broker.access.policy import Principal, Role, Verb, allowed
from schemas.contract import topics
from schemas.contract.topics import Topic
from schemas.description.json_schemas import schema_document
from schemas.description.payloads import PAYLOADS, message_name

DOCUMENT = asyncapi_document()
SCHEMAS = schema_document()
GOLDEN = sorted((Path(__file__).parents[1] / "schemas" / "contract" / "golden").glob("*.json"))
NODE_MODULES = Path(__file__).parents[1] / "support" / "node" / "node_modules"
NEWER_THAN_DRAFT_7 = {
    "prefixItems",
    "unevaluatedProperties",
    "dependentRequired",
    "$defs",
    "minContains",
    "$dynamicRef",
}


@pytest.mark.parametrize(
    ("path", "document"), contract_reference.documents().items(), ids=lambda value: str(value)[-20:]
)
def test_the_documents_in_docs_are_current(path: Path, document: dict[str, Any]) -> None:
    assert path.read_text() == contract_reference.written(document), "run `make reference`"


@pytest.mark.parametrize(("name", "document"), [("asyncapi", DOCUMENT), ("jsonschema", SCHEMAS)])
def test_the_command_prints_them(name: str, document: dict[str, Any]) -> None:
    result = CliRunner().invoke(dashfleet.application(), ["contract", "--format", name])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == document


def test_the_asyncapi_document_is_valid() -> None:
    require_module_of_node("@asyncapi/specs")
    schema = json.loads((NODE_MODULES / "@asyncapi" / "specs" / "schemas" / "3.0.0.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    broken = json.loads(json.dumps(DOCUMENT))
    broken["operations"]["machineSendsStatus"]["bindings"]["mqtt"]["qos"] = 3
    assert list(validator.iter_errors(broken)), "the bindings are checked too"


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize("document", [DOCUMENT, SCHEMAS], ids=["asyncapi", "jsonschema"])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        place: Any = document
        for level in reference.removeprefix("#/").split("/"):
            place = place[level]


def keywords(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from keywords(each)
    elif isinstance(value, list):
        for each in value:
            yield from keywords(each)


def test_the_schemas_of_the_asyncapi_document_use_nothing_newer_than_draft_7_which_is_what_it_permits() -> None:
    assert not set(keywords(DOCUMENT["components"]["schemas"])) & NEWER_THAN_DRAFT_7


def test_the_schemas_are_valid_by_their_own_dialect() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS)


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.pattern)
def test_every_topic_is_a_channel_with_its_message(topic: Topic) -> None:
    address = topic.template
    (channel,) = [each for each in DOCUMENT["channels"].values() if each["address"] == address]
    assert set(channel["messages"]) == ({message_name(PAYLOADS[topic])} if topic in PAYLOADS else set())
    assert {f"{{{name}}}" for name in channel["parameters"]} == {level for level in address.split("/") if "{" in level}


def test_operations_are_what_the_policy_permits() -> None:
    found = {name: operation["action"] for name, operation in DOCUMENT["operations"].items()}
    machine = Principal(Role.MACHINE, "home", "attic")
    assert allowed(machine, Verb.PUBLISH, topics.STATUS.at(org="home", machine="attic"))
    assert found["machineSendsStatus"] == "send"
    assert found["machineReceivesCommand"] == found["readerReceivesPresence"] == "receive"
    assert "machineSendsCommand" not in found
    assert [name for name in found if name.endswith("SendsPresence")] == ["ingestorSendsPresence"]
    assert [name for name in found if name.startswith("reader") and "Sends" in name] == ["readerSendsLiveRequest"]
    assert {name for name in found if name.endswith("SendsWatch")} == {"ingestorSendsWatch"}
    assert {name for name in found if name.endswith("SendsRequest")} == {
        "operatorSendsRequest",
        "dashboardSendsRequest",
    }


def test_operations_have_the_qos_and_retain_flag_of_their_topics() -> None:
    bindings = {name: operation["bindings"]["mqtt"] for name, operation in DOCUMENT["operations"].items()}
    assert (bindings["machineSendsStatus"]["qos"], bindings["machineSendsStatus"]["retain"]) == (1, True)
    assert (bindings["ingestorSendsAck"]["qos"], bindings["ingestorSendsAck"]["retain"]) == (0, False)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_released_message_is_valid(path: Path) -> None:
    name = path.stem.removeprefix("newer_").removeprefix("older_").replace("_", "")
    message = next(model for model in PAYLOADS.values() if name.startswith(message_name(model).lower()))
    schema = {"$ref": f"#/$defs/{message_name(message)}", "$defs": SCHEMAS["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Status", {"state": "online", "session": 0, "at": 1}),
        ("Status", {"v": 2, "state": "online", "session": 1, "at": 1}),
        ("Telemetry", {"session": 1, "stream": "x", "seq": 1, "oldest_seq": 1, "sampled_at": 1, "vitals": {}}),
        ("Presence", {"presence": "away", "since": 1, "display_name": "attic"}),
        ("Request", {"id": "0" * 32, "change": {"kind": "act", "batch": "0" * 32, "orders": []}}),
    ],
)
def test_a_message_that_is_wrong_is_not_valid(name: str, wrong: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMAS["$defs"]})
    assert list(validator.iter_errors(wrong))
