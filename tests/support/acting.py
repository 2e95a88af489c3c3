"""An operator who signs orders and hears updates, and what a machine answers, on any broker."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.administration import Administration
from schemas.contract.commands import Act, Cancel, CommandMessage, Desired, Order, Request, Result, Rollout, Update
from schemas.contract.messages import Signed
from schemas.contract.signing import key_id, new_key, sign

_NUMBERS = itertools.count(1)


def new_id() -> str:
    """An id that no other has in this process."""
    return f"{next(_NUMBERS):032x}"


@dataclass
class Operator:
    """Makes requests. `level` is the principal's in its topics."""

    clock: Clock
    org: str = "home"
    level: str = "ops"
    seed: str = field(default_factory=new_key)

    def order(
        self,
        action: str = "ping",
        machine: str = "attic",
        *,
        lives_seconds: float = 3600,
        **facts: Any,  # noqa: ANN401
    ) -> Signed:
        now = self.clock.now()
        values = {"id": new_id(), "org": self.org, "machine": machine, "action": action, "issued_at": now}
        values |= {"expires_at": now + round(lives_seconds * 1000)}
        return sign(Order.model_validate({**values, **facts}), self.seed)

    def unchecked_command(self, action: str, arguments: Mapping[str, Any]) -> bytes:
        """Return a command with a valid signature over text that no program of ours would sign."""
        now = self.clock.now()
        values = {"id": new_id(), "org": self.org, "machine": "attic", "action": action, "arguments": arguments}
        statement = json.dumps({"v": 1, **values, "issued_at": now, "expires_at": now + 3_600_000}, ensure_ascii=False)
        key = SigningKey(bytes.fromhex(self.seed))
        public = bytes(key.verify_key).hex()
        signed = {
            "statement": statement,
            "key": key_id(public),
            "signature": key.sign(statement.encode()).signature.hex(),
        }
        return json.dumps({"v": 1, "order": signed, "attempt": 1}, ensure_ascii=False).encode()

    def act(self, *orders: Signed, batch: str | None = None, rollout: Rollout | None = None, id_: str = "") -> Message:
        act = Act(batch=batch or new_id(), orders=orders, rollout=rollout or Rollout())
        return self.request(Request(id=id_ or new_id(), actor="Ada", change=act))

    def cancel(self, *ids: str) -> Message:
        return self.request(Request(id=new_id(), actor="Ada", change=Cancel(commands=ids)))

    def administer(self, change: Administration, *, id_: str = "") -> Message:
        return self.request(Request(id=id_ or new_id(), actor="Ada", change=change))

    def request(self, request: Request) -> Message:
        topic = topics.REQUEST.at(org=self.org, principal=self.level)
        return Message(topic, request.encode(), topics.REQUEST.qos)

    @property
    def principal(self) -> Principal:
        return Principal(Role.OPERATOR, self.org, self.level)


def order_of(signed: Signed) -> Order:
    return Order.model_validate_json(signed.statement)


@dataclass
class Ears:
    """Everything that goes to machines and operators, as it was heard since the last look."""

    broker: MemoryBroker
    heard: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        kinds = (topics.COMMAND, topics.UPDATE, topics.CONFIG, topics.ACK, topics.ORG_CONFIG)
        self._client = MemoryTransport(
            self.broker,
            client_id=f"ears-{new_id()}",
            subscriptions=[(kind.filter(), 1) for kind in kinds],
            pass_time=lambda _: None,
        )
        self._client.receive(1000, 0)

    def updates(self, level: str = "ops") -> list[Update]:
        return [Update.decode(message.payload) for message in self._take(topics.UPDATE, principal=level)]

    def states(self, level: str = "ops") -> list[str]:
        return [update.state for update in self.updates(level)]

    def commands(self, machine: str = "attic") -> list[CommandMessage]:
        return [CommandMessage.decode(message.payload) for message in self._take(topics.COMMAND, machine=machine)]

    def configs(self, machine: str = "attic") -> list[Desired]:
        return [Desired.decode(message.payload) for message in self._take(topics.CONFIG, machine=machine)]

    def acked(self, machine: str = "attic") -> list[str]:
        return [
            id_ for message in self._take(topics.ACK, machine=machine) for id_ in Ack.decode(message.payload).results
        ]

    def _take(self, kind: topics.Topic, **levels: str) -> Iterator[Message]:
        self.heard += [event for event in self._client.receive(100_000, 0) if isinstance(event, Message)]
        topic = kind.at(org="home", **levels)
        found = [message for message in self.heard if message.topic == topic]
        self.heard = [message for message in self.heard if message.topic != topic]
        return iter(found)


def result(
    command: str,
    state: str,
    clock: Clock,
    *,
    machine: str = "attic",
    org: str = "home",
    **facts: Any,  # noqa: ANN401
) -> Message:
    """What a machine says of a command."""
    values = {"session": 1, "id": command, "state": state, "at": clock.now(), **facts}
    topic = topics.RESULT.at(org=org, machine=machine)
    return Message(topic, Result.model_validate(values).encode(), topics.RESULT.qos)
