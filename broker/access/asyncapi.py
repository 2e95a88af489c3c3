"""The contract as an AsyncAPI 3.0 document with MQTT bindings, generated from topics, messages and the policy.

Each topic is a channel. Each role has one operation per channel on which it may publish (`send`) or which it may read
(`receive`), by the function that the brokers enforce (`broker.access.policy`).
"""

import inspect
from collections.abc import Iterator
from typing import Any

from broker.access.policy import Principal, Role, Verb, allowed
from schemas.contract import topics
from schemas.contract.topics import Topic
from schemas.description.json_schemas import message_schemas
from schemas.description.payloads import PAYLOADS, message_name

VERSION = "1"
"""Version of the contract; a version only gains fields and topics."""

_NAMES = {value: name for name, value in vars(topics).items() if isinstance(value, Topic)}
_ORG, _NAME = "org", "name"
_MACHINE = Principal(Role.MACHINE, _ORG, _NAME)
_OF_THE_SERVER = frozenset((Role.DASHBOARD, Role.INGESTOR, Role.NOTIFIER))
_REPLIES = {
    topics.REQUEST: topics.UPDATE,
    topics.ENROL_REQUEST: topics.ENROL_ANSWER,
    topics.LIVE_REQUEST: topics.LIVE_ANSWER,
}
_LEVELS = {
    "org": "Organisation: lower-case letters, digits and inner hyphens, at most 32.",
    "machine": "Machine id: lower-case letters, digits and inner hyphens, at most 63.",
    "principal": "Name of a principal without its organisation; it begins with _ for a process of the server.",
    "rule": "Name of an alert rule.",
    "incident": "Number of an incident.",
    "kind": "Kind of facts, such as mounts.",
    "replay": "Name of a replay: lower-case letters, digits and inner hyphens, at most 63.",
    "way": "Whether the subscription is shared.",
}


def asyncapi_document() -> dict[str, Any]:
    """Return the document."""
    prefix = "#/components/schemas/"
    return {
        "asyncapi": "3.0.0",
        "id": "urn:dashfleet:contract:v1",
        "info": {
            "title": "DashFleet",
            "version": VERSION,
            "description": (
                "Topics and messages of DashFleet over MQTT 3.1.1. Every payload is UTF-8 JSON; an empty payload on a "
                "retained topic clears it. Readers ignore unknown fields. docs/contract.md has the rules in words."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": {_channel_name(topic): _channel(topic) for topic in topics.ALL},
        "operations": dict(_operations()),
        "components": {
            "schemas": message_schemas(prefix),
            "messages": {message_name(model): _message(message_name(model), model) for model in PAYLOADS.values()},
            "securitySchemes": {
                "credential": {
                    "type": "userPassword",
                    "description": "The client id is the user name: ORG.MACHINE of a machine, ORG._NAME of a program.",
                }
            },
        },
    }


def _server() -> dict[str, Any]:
    return {
        "host": "127.0.0.1:1883",
        "protocol": "mqtt",
        "protocolVersion": "3.1.1",
        "description": "The broker on its own host; with TLS (secure-mqtt) on port 8883 from elsewhere.",
        "security": [{"$ref": "#/components/securitySchemes/credential"}],
        "bindings": {"mqtt": {"cleanSession": True, "bindingVersion": "0.2.0"}},
    }


def _channel_name(topic: Topic) -> str:
    first, *rest = _NAMES[topic].lower().split("_")
    return first + "".join(map(str.capitalize, rest))


def _channel(topic: Topic) -> dict[str, Any]:
    levels = [level for level in _LEVELS if f"{{{level}}}" in topic.pattern]
    model = PAYLOADS.get(topic)
    found: dict[str, Any] = {
        "address": topic.template,
        "servers": [{"$ref": "#/servers/broker"}],
        "messages": {},
        "parameters": {level: {"description": _LEVELS[level]} for level in levels},
    }
    if model is not None:
        found["messages"] = {message_name(model): {"$ref": f"#/components/messages/{message_name(model)}"}}
    return found


def _message(name: str, model: type[Any]) -> dict[str, Any]:
    summary, _, more = inspect.cleandoc(model.__doc__ or "").partition("\n\n")
    found = {
        "name": name,
        "title": name,
        "summary": " ".join(summary.split()),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    return {**found, "description": " ".join(more.split())} if more else found


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for role in Role:
        principal = Principal(role, "" if role in _OF_THE_SERVER else _ORG, _NAME)
        for topic in topics.ALL:
            for verb, action in ((Verb.PUBLISH, "send"), (Verb.RECEIVE, "receive")):
                if _is_allowed(principal, verb, topic):
                    name = _channel_name(topic)
                    yield f"{role}{action.capitalize()}s{name[0].upper()}{name[1:]}", _operation(topic, role, action)


def _is_allowed(principal: Principal, verb: Verb, topic: Topic) -> bool:
    """Return whether the policy lets a principal of this role do this on its own topic."""
    own = {"machine": _NAME, "principal": principal.name if topic is topics.PROBE else principal.level}
    others = {"org": _ORG, "rule": "rule", "incident": "1", "kind": "mounts", "way": "shared", "replay": "past"}
    levels = {name: level for name, level in {**others, **own}.items() if f"{{{name}}}" in topic.pattern}
    if principal.role in _OF_THE_SERVER and topic is not topics.PROBE and "principal" in levels:
        wanted = [{**levels, "principal": level} for level in ("one", principal.level)]
        return any(allowed(principal, verb, topic.at(**each)) for each in wanted)
    return allowed(principal, verb, topic.at(**levels))


def _operation(topic: Topic, role: Role, action: str) -> dict[str, Any]:
    channel = f"#/channels/{_channel_name(topic)}"
    found: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": channel},
        "tags": [{"name": role.value}],
        "bindings": {"mqtt": {"qos": topic.qos, "retain": topic.retain, "bindingVersion": "0.2.0"}},
    }
    if action == "receive":
        del found["bindings"]["mqtt"]["retain"]
    if role is Role.INGESTOR and action == "send" and _is_allowed(_MACHINE, Verb.PUBLISH, topic):
        found["description"] = "Only to clear what is retained, with an empty payload."
    reply = _REPLIES.get(topic)
    if reply is not None and action == "send":
        found["reply"] = {"channel": {"$ref": f"#/channels/{_channel_name(reply)}"}}
    return found
