"""`docs/contract.md` names all that travels."""

import inspect
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from broker.access.credentials import verify_secret
from broker.conformance import assertions
from broker.embedded.connection import ConnectionLimits
from ingestor.commands.request_handler import OPEN_MAX
from ingestor.domain.machine import RANGES_MAX, STREAMS_MAX
from ingestor.files.file_rates import FileRates
from ingestor.intake.live_requests import MACHINES_MAX
from ingestor.intake.rate_limits import MACHINE, ORG
from runtime.clock import SystemClock
from runtime.settings.broker import BrokerSettings
from schemas.contract import (
    ack,
    administration,
    alert_rules,
    alerts,
    backfill,
    commands,
    enrolment,
    facts,
    live,
    machine_selector,
    messages,
    org_config,
    presence,
    signing,
    topics,
)
from schemas.contract.commands import CommandMessage, Order
from schemas.contract.enrolment import EnrolRequest
from schemas.contract.files import transfer
from schemas.contract.messages import ContractModel, Payload
from schemas.contract.org_config import OrgConfig
from schemas.fleet.organisation import SETTINGS

CONTRACT = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
PROSE = re.sub(r"```.*?```", "", CONTRACT, flags=re.DOTALL)
NAMED = set(re.findall(r"`([^`]+)`", PROSE))
MODELS = [
    model
    for module in (
        messages,
        backfill,
        facts,
        live,
        ack,
        alert_rules,
        alerts,
        org_config,
        presence,
        enrolment,
        administration,
        commands,
        signing,
        machine_selector,
        transfer,
    )
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, ContractModel) and model.__module__ == module.__name__
]
CHANGES = get_args(administration.Administration)
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
    own = PROSE.partition(f"### {name}\n")[2].partition("\n### ")[0]
    missing = set(message.model_fields) - set(re.findall(r"`([^`]+)`", own))
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


# Required and optional fields

NOT_SENT = {"ContractModel", "Payload", "Sample", "VitalsColumns"}
"""Models that only others are made of, or whose fields are those of another."""
DEFAULTS_ALONE = {"Vitals", "Thresholds", "OrgConfig"}
"""Models of which no field is required, which have a paragraph or a table of defaults."""
TABLED = [
    model
    for model in MODELS
    if model.__name__ not in NOT_SENT | DEFAULTS_ALONE | {"Component"} and model not in CHANGES
]


def section(name: str) -> str:
    """Return the text from the heading of a message, or the bold name of a part of one, to the next heading."""
    return re.split(rf"^(?:### {name}$|\*\*{name}\*\*)", CONTRACT, maxsplit=1, flags=re.MULTILINE)[1].split("\n##")[0]


def required_in_the_table(model: type[ContractModel]) -> dict[str, str]:
    """Return the cells of the column "required", by field."""
    table = section(model.__name__.removesuffix("Message")).partition("| field | required | type | meaning |")[2]
    found: dict[str, str] = {}
    for line in table.strip().splitlines()[1:]:
        if not line.startswith("|"):
            break
        fields, cell = line.split(" | ")[:2]
        found |= dict.fromkeys(re.findall(r"`(\w+)`", fields), cell)
    return found


def required(field: FieldInfo) -> str:
    if field.is_required():
        return "yes"
    default = field.get_default(call_default_factory=True)
    if default is None or isinstance(default, ContractModel):
        return "no"
    return f"no: `{json.dumps(to_jsonable_python(default))}`"


@pytest.mark.parametrize("model", TABLED, ids=lambda model: model.__name__)
def test_every_field_is_said_to_be_required_or_not(model: type[ContractModel]) -> None:
    assert required_in_the_table(model) == {name: required(field) for name, field in model.model_fields.items()}


@pytest.mark.parametrize("name", sorted(DEFAULTS_ALONE))
def test_nothing_is_required_of_what_has_only_defaults(name: str) -> None:
    (model,) = (model for model in MODELS if model.__name__ == name)
    assert not any(field.is_required() for field in model.model_fields.values())


def test_the_fields_of_a_change_are_said_to_be_required_or_not() -> None:
    for model in CHANGES:
        start = f'| `"{kind(model)}"` |'
        row = next(line for line in CONTRACT.splitlines() if line.startswith(start))
        cell = row.split(" | ")[1]
        for name, field in model.model_fields.items():
            if name != "kind":
                assert (f"`{name}` (optional" in cell) == (not field.is_required()), (model, name)


def kind(model: type[ContractModel]) -> str:
    return str(model.model_fields["kind"].default)


def test_an_agent_that_is_not_python_needs_no_version_of_it() -> None:
    info = messages.Info(session=1, at=1, hostname="attic", agent_version="1", interval_seconds=10.0)
    assert messages.Info.decode(info.encode()).python_version is None


# Examples

EXAMPLES = [
    (model, example)
    for model in MESSAGES
    for example in re.findall(r"```json\n(.*?)```", section(model.__name__.removesuffix("Message")), re.DOTALL)
]


def unknown(example: Any, decoded: Any) -> list[str]:  # noqa: ANN401
    """Return the names in an example that its message does not have."""
    if isinstance(example, dict):
        below = [name for key, value in example.items() if key in decoded for name in unknown(value, decoded[key])]
        return [key for key in example if key not in decoded] + below
    if isinstance(example, list):
        return [name for mine, theirs in zip(example, decoded, strict=True) for name in unknown(mine, theirs)]
    return []


def test_every_message_has_an_example() -> None:
    assert {model for model, _ in EXAMPLES} == set(MESSAGES)


@pytest.mark.parametrize(("model", "example"), EXAMPLES, ids=[model.__name__ for model, _ in EXAMPLES])
def test_every_example_decodes_and_has_no_other_field(model: type[Payload], example: str) -> None:
    decoded = json.loads(model.decode(example.encode()).model_dump_json())
    assert unknown(json.loads(example), decoded) == []


def examples(model: type[Payload]) -> list[str]:
    return [example for found, example in EXAMPLES if found is model]


def test_the_test_vector_has_signed_the_examples() -> None:
    seed, public, id_ = re.findall(r"`([0-9a-f]{16,})`", PROSE.partition("## Signing")[2])
    order = CommandMessage.decode(examples(CommandMessage)[0].encode()).order
    changes = OrgConfig.decode(examples(OrgConfig)[0].encode()).key_changes

    assert (signing.public_key(seed), signing.key_id(public)) == (public, id_)
    assert signing.sign(signing.open_signed(order, public, Order), seed) == order
    assert f"```\n{order.statement}\n```" in CONTRACT
    assert set(signing.keys_in_force(changes, "home", 1760000000000)) > {id_}


def test_the_forms_of_keys_for_other_libraries_are_those_of_the_test_vector() -> None:
    for_public, for_seed = re.findall(r"`(30[0-9a-f]+)` before its 64 hex digits", CONTRACT)
    seed, public, _ = re.findall(r"`([0-9a-f]{16,})`", PROSE.partition("## Signing")[2])
    private = load_der_private_key(bytes.fromhex(for_seed + seed), None)
    form = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert form.hex() == for_public + public


def test_the_record_of_the_example_is_that_of_its_secret() -> None:
    (example,) = examples(EnrolRequest)
    assert verify_secret("an-example-secret", EnrolRequest.decode(example.encode()).secret_hash)


def test_the_units_are_those_of_the_code() -> None:
    table = CONTRACT.partition("| unit | UCUM |")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", table, re.MULTILINE)) == messages.UNITS


def test_the_assertions_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (DF-\d{3}) \| (\w+) \| (.+) \|$", CONTRACT, re.MULTILINE)
    assert rows == [(each.id, each.subject, each.text) for each in assertions.ALL]


@pytest.mark.parametrize(("subject", "hundred"), [("agent", 0), ("consumer", 1), ("actor", 2), ("broker", 3)])
def test_the_assertions_of_a_subject_are_numbered_without_a_gap(subject: assertions.Subject, hundred: int) -> None:
    ids = [each.id for each in assertions.of_subject(subject)]
    assert ids == [f"DF-{hundred}{number:02}" for number in range(1, len(ids) + 1)]


# Limits

DEFAULTS = {name: field.default for name, field in BrokerSettings.model_fields.items()}
FILES = FileRates(SystemClock())
LIMITS: dict[str, float] = {
    "bytes of a packet": DEFAULTS["max_packet_bytes"],
    "characters of a topic": topics.LENGTH_MAX,
    "seconds from TCP connection to CONNECT": DEFAULTS["connect_seconds"],
    "topic filters in one SUBSCRIBE or UNSUBSCRIBE (embedded)": DEFAULTS["filters_per_packet"],
    "subscriptions of a connection (embedded)": ConnectionLimits().subscriptions,
    "messages per second of a client (embedded)": DEFAULTS["client_messages_per_second"],
    "bytes per second of a client (embedded)": DEFAULTS["client_bytes_per_second"],
    "bytes that wait for a client that does not read (embedded)": ConnectionLimits().queue_bytes,
    "QoS 1 messages sent to a client and not acknowledged": ConnectionLimits().window,
    "simultaneous connections with one enrolment token (embedded)": DEFAULTS["sessions_per_token"],
    "seconds of a connection with an enrolment token (embedded)": ConnectionLimits().token_session_seconds,
    "messages per minute of a client at the ingestor": MACHINE.messages,
    "bytes per minute of a client at the ingestor": MACHINE.bytes,
    "messages per minute of an organisation at the ingestor": ORG.messages,
    "bytes per minute of an organisation at the ingestor": ORG.bytes,
    "bytes per second of files to a machine": FILES.machine,
    "bytes per second of files to an organisation": FILES.org,
    "samples in a Backfill": messages.BACKFILL_MAX_SAMPLES,
    "readings in `extra`": messages.EXTRA_MAX,
    "streams of a machine": STREAMS_MAX,
    "gaps in the stored numbers of a stream": RANGES_MAX,
    "orders in a Request": commands.ORDERS_MAX,
    "open commands of a machine": OPEN_MAX,
    "machines of an organisation that are watched at a time": MACHINES_MAX,
    "seconds of a lease for live readings": live.LEASE_MAX_SECONDS,
}


def test_the_limits_are_those_of_the_code() -> None:
    chapter = CONTRACT.partition("## Limits\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d,]+) \| .+ \|$", chapter, re.MULTILINE)
    assert {name: float(value.replace(",", "")) for name, value in rows} == LIMITS
