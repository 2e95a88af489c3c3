"""An ingestor and its machines as the operator's side meets them: requests are recorded, and end as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Message
from ingestor.admin.requests import administer
from ingestor.domain.command_changes import RequestRecord
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.administration import Administration
from schemas.contract.commands import Act, Cancel, Request, Update
from schemas.database import tables

INGESTOR = Principal(Role.INGESTOR, "", "ingestor")

Ending = dict[str, Any]
"""A state with its reason, detail, exit_code and output; an empty one means that nobody answers."""


def succeeds(_order: dict[str, Any]) -> Ending:
    return {"state": "succeeded"}


@dataclass
class Answerer:
    """Records requests in a thread. `ending` says how each order ends; `refusal` refuses whole requests.

    `applying`: organisations in which changes are made, as the ingestor makes them.
    """

    engine: Engine
    transport: Mqtt
    now: Callable[[], int]
    ending: Callable[[dict[str, Any]], Ending] = succeeds
    refusal: str = ""
    silent: bool = False
    applying: frozenset[str] = frozenset()
    heard: list[Request] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def forget(self) -> None:
        """Answer as at the start, and drop what was recorded."""
        self.ending, self.refusal, self.silent, self.applying = succeeds, "", False, frozenset()
        self.heard.clear()

    def run(self) -> None:
        while not self.stopping.is_set():
            for event in self.transport.receive(100, 0.05):
                if isinstance(event, Message) and not self.silent:
                    self._answer(event)
        self.transport.close()

    def _answer(self, message: Message) -> None:
        address, request = topics.parse(message.topic), Request.decode(message.payload)
        assert address is not None
        self.heard.append(request)
        if address.org in self.applying and not isinstance(request.change, Act | Cancel):
            said = self._apply(address.org, address.principal, request, request.change)
        else:
            with self.engine.begin() as connection:
                said = self._record(connection, address.org, address.principal, request)
        for each in said:
            topic = topics.UPDATE.at(org=address.org, principal=address.principal)
            told = Update.model_validate({"request": request.id, "at": self.now(), **each})
            self.transport.publish(Message(topic, told.encode(), 1))

    def _apply(self, org: str, principal: str, request: Request, change: Administration) -> Iterator[dict[str, Any]]:
        made = (request.id, org, f"{org}.{principal}", request.actor, change.kind, request.id, None, "", "", self.now())
        record = administer(self.engine, RequestRecord(*made), principal, change)
        assert record is not None
        return iter([{"state": record.state, "detail": record.detail}])

    def _record(self, connection: Connection, org: str, principal: str, request: Request) -> Iterator[dict[str, Any]]:
        known = select(tables.request.c.id).where(tables.request.c.id == request.id)
        state = "refused" if self.refusal else "accepted"
        said: list[dict[str, Any]] = [{"state": state, "detail": self.refusal}]
        if connection.execute(known).first() is None:
            org_id = connection.execute(select(tables.org.c.id).where(tables.org.c.name == org)).scalar_one()
            row = {"id": request.id, "org_id": org_id, "principal": principal, "actor": request.actor, "state": state}
            batch = request.change.batch if isinstance(request.change, Act) else request.id
            row |= {"kind": request.change.kind, "batch": batch, "created_at": self.now(), "detail": self.refusal}
            connection.execute(insert(tables.request).values(row))
            match request.change:
                case Act() if not self.refusal:
                    said += [
                        each for signed in request.change.orders for each in self._run(connection, request, signed)
                    ]
                case Cancel():
                    said += [self._cancel(connection, id_) for id_ in request.change.commands]
        return iter(said)

    def _run(self, connection: Connection, request: Request, signed: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        order, now = json.loads(signed.statement), self.now()
        named = tables.machine.c.name == order["machine"]
        machine = connection.execute(select(tables.machine.c.id).where(named)).scalar_one()
        ending = {"state": "sent", **self.ending(order)}
        row = {"id": order["id"], "machine_id": machine, "request_id": request.id, "action": order["action"]}
        row |= {"arguments": order["arguments"], "created_at": now, "sent_at": now, "attempts": 1, **ending}
        row |= {"expires_at": order["expires_at"], "ended_at": now, **signed.model_dump()}
        connection.execute(insert(tables.command).values(row))
        before = ""
        for after in dict.fromkeys(("queued", "sent", "running", ending["state"])):
            line = {"command_id": order["id"], "at": now, "before": before, "after": after, "by": order["machine"]}
            connection.execute(insert(tables.command_transition).values(line))
            before = after
        about = {"command": order["id"], "machine": order["machine"], "action": order["action"]}
        yield {**about, "state": "running"}
        yield {**about, **ending}

    def _cancel(self, connection: Connection, id_: str) -> dict[str, Any]:
        waiting = (tables.command.c.id == id_) & (tables.command.c.state == "queued")
        connection.execute(update(tables.command).where(waiting).values(state="cancelled"))
        state = connection.execute(select(tables.command.c.state).where(tables.command.c.id == id_)).scalar_one()
        return {"command": id_, "state": state}


@contextmanager
def answering(
    engine: Engine,
    address: ServerAddress,
    password: str,
    *,
    now: Callable[[], int],
    **options: Any,  # noqa: ANN401
) -> Iterator[Answerer]:
    """An ingestor that answers requests until the end of the block."""
    transport = Mqtt(
        address, username=INGESTOR.username, password=password, subscriptions=[(topics.REQUEST.filter(), 1)]
    )
    answerer = Answerer(engine, transport, now, **options)
    thread = threading.Thread(target=answerer.run, name="answerer", daemon=True)
    thread.start()
    try:
        yield answerer
    finally:
        answerer.stopping.set()
        thread.join(10)
