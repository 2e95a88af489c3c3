"""All messages that our parts publish during the tests, each validated against the JSON Schemas of the contract.

Parts in this process are recorded by `record`, parts in child processes by `recording/sitecustomize.py`. Messages that
a test publishes itself are not recorded: many are wrong on purpose. Every process counts in a file of its own, so that
a process that is killed is counted too.
"""

import json
import mmap
import os
import struct
import sys
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.topics import Topic

DIRECTORY = "DASHFLEET_TEST_TRAFFIC"
"""Environment variable with the directory of the counts; nothing is recorded without it."""

PACKAGES = frozenset(("agent", "broker", "cli", "dashboard", "ingestor", "notifier"))
"""Those whose messages are on topics of the contract; a bridge publishes its own to another broker."""
_WRAPPERS = frozenset(("broker.client.kept_alive",))
_WRONG_ON_PURPOSE = "broker.conformance"
_SLOT = struct.Struct("<Q")


class Recorder:
    """Validates and counts the messages of one process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / f"counts.{os.getpid()}"
        path.write_bytes(bytes(_SLOT.size * len(topics.ALL)))
        with path.open("r+b") as file:
            self._counts = mmap.mmap(file.fileno(), 0)

    def record(self, message: Message) -> None:
        """Count a message; report it if it is not as the contract says."""
        address = topics.parse(message.topic)
        if address is None:
            self._report(message, "not a topic of the contract")
            return
        slot = topics.ALL.index(address.topic) * _SLOT.size
        _SLOT.pack_into(self._counts, slot, _SLOT.unpack_from(self._counts, slot)[0] + 1)
        if error := problem(address.topic, message):
            self._report(message, error)

    def _report(self, message: Message, error: str) -> None:
        line = json.dumps([message.topic, error, repr(message.payload[:2000])])
        with (self._directory / "invalid").open("a") as file:
            file.write(line + "\n")


def problem(topic: Topic, message: Message) -> str:
    """Return what is wrong with a message of our own, or an empty string."""
    clears = message.retain and not message.payload
    if message.qos != topic.qos or (message.retain != topic.retain and not clears):
        return f"QoS {message.qos} and retain {message.retain}"
    ends = topic is topics.REPLAYED_ALERT and not message.payload
    if topic is topics.PROBE or clears or ends:
        return ""
    try:
        payload = json.loads(message.payload)
    except ValueError as error:
        return f"not JSON: {error}"
    return next((f"{error.instance_path}: {error.message}" for error in _validator(topic).iter_errors(payload)), "")


@lru_cache
def _validator(topic: Topic) -> Any:  # noqa: ANN401 - of a library without types
    import jsonschema_rs

    from schemas.description.json_schemas import message_schemas
    from schemas.description.payloads import PAYLOADS, message_name

    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/$defs/{message_name(PAYLOADS[topic])}", "$defs": message_schemas()}
    )


def record(recorder: Recorder, *kinds: type[Any]) -> None:
    """Record what our code publishes through these kinds of transports, and their wills."""
    for kind in kinds:
        kind.publish = _recorded(recorder, kind.publish)
        kind.__init__ = _with_recorded_will(recorder, kind.__init__)


def _recorded(recorder: Recorder, publish: Callable[..., bool]) -> Callable[..., bool]:
    def published(transport: object, message: Message) -> bool:
        done = publish(transport, message)
        if done and _is_ours(sys._getframe(1)):
            recorder.record(message)
        return done

    return published


def _with_recorded_will(recorder: Recorder, init: Callable[..., None]) -> Callable[..., None]:
    def initialised(transport: object, *args: object, **options: Any) -> None:  # noqa: ANN401
        will = options.get("will")
        if will is not None and getattr(will, "__module__", "").partition(".")[0] in PACKAGES:

            def recorded_will() -> Message | None:
                message: Message | None = will()
                if message is not None:
                    recorder.record(message)
                return message

            options["will"] = recorded_will
        init(transport, *args, **options)

    return initialised


def _is_ours(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals.get("__name__") in _WRAPPERS:
        frame = frame.f_back
    name = "" if frame is None else str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] in PACKAGES and not name.startswith(_WRONG_ON_PURPOSE)


def counts(directory: Path) -> Counter[str]:
    """Return the number of messages by topic pattern, of all processes that counted below a directory."""
    found: Counter[str] = Counter()
    for path in directory.rglob("counts.*"):
        content = path.read_bytes()
        for index, topic in enumerate(topics.ALL):
            found[topic.pattern] += _SLOT.unpack_from(content, index * _SLOT.size)[0]
    return found


def invalid(directory: Path) -> list[str]:
    """Return the reports of wrong messages below a directory."""
    return [line for path in directory.rglob("invalid") for line in path.read_text().splitlines()]
