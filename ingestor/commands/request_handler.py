"""Requests of principals: which are refused, what is recorded, and what is answered.

Invariants:
- A request, and each of its orders, is recorded once. Repeated, it is answered again from the record.
- A principal can neither join nor learn anything of another principal's request by using its id.
- An invalid signature is refused here if the organisation's keys are known; but the check that counts is the machine's,
  which trusts neither this process nor its database.
"""

from dataclasses import replace

from pydantic import ValidationError

from broker.client.transport import Message
from ingestor.admin.requests import NOT_ALLOWED, administer
from ingestor.commands.dispatcher import Dispatcher
from ingestor.domain.batch import Batch
from ingestor.domain.command import Command
from ingestor.domain.command_changes import RequestRecord, command_update, username
from ingestor.domain.dead_letter import RejectedError
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.domain.rollout import RolloutKey, RolloutProgress
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.org_configs import OrgConfigs
from ingestor.intake.salvage import explain, read_id
from ingestor.storage.store import Store
from runtime.sentences.validation_errors import first_sentence
from schemas.contract.commands import Act, Cancel, CommandState, Order, Request, Rollout, Update
from schemas.contract.messages import Signed
from schemas.contract.signing import SignatureError
from schemas.contract.topics import Address

OPEN_MAX = 100
"""Open commands of one machine: more come only from a broken or hostile client."""

DETAIL_MAX = 1000


class RequestHandler:
    """Turns requests into commands, cancellations and administrative changes."""

    def __init__(self, store: Store, dispatcher: Dispatcher, cache: MachineCache, configs: OrgConfigs) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._cache = cache
        self._configs = configs

    def handle(self, batch: Batch, address: Address, message: Message, now: int) -> None:
        """Handle one request. Raises RejectedError or ValidationError if it is invalid."""
        try:
            request = Request.decode(message.payload)
        except ValidationError as error:
            _answer_invalid(batch, address, message, error, now)
            raise
        if address.org not in self._configs:
            raise RejectedError("unknown-organisation", f"there is no organisation {address.org}")
        place = len(batch.changes.updates)
        received = _ReceivedRequest(request, address.org, username(address.org, address.principal), now, place)
        known = batch.changes.requests.get(request.id) or self._store.commands.request(request.id)
        if known is not None and (known.org, known.principal) != (received.org, received.principal):
            received.answer(batch, "refused", "duplicate-id", "another request has this id")
            return
        match request.change:
            case Act() as act:
                self._act(batch, received, act, known)
            case Cancel() as cancel:
                self._cancel(batch, received, cancel, known)
            case administration:
                record = known
                if record is None:
                    new = received.record("", None, "", "")
                    record = administer(self._store.engine, new, address.principal, administration)
                if record is not None:
                    code = "not-allowed" if record.detail == NOT_ALLOWED else ""
                    received.answer(batch, record.state, code, record.detail)

    def _act(self, batch: Batch, received: "_ReceivedRequest", act: Act, known: RequestRecord | None) -> None:
        orders: list[tuple[Order, Signed]] = []
        for number, signed in enumerate(act.orders, 1):
            try:
                orders.append((Order.model_validate_json(signed.statement), signed))
            except ValidationError as error:
                detail = f"order {number} cannot be read: {first_sentence(error)}"
                received.store(batch, known or received.record(act.batch, None, "refused", detail))
                received.answer(batch, "refused", "invalid", detail)
                return
        rollout = self._rollout(batch, received, act)
        progress = self._dispatcher.rollouts.get((received.org, received.principal, act.batch))
        state = "stopped" if progress is not None and progress.stopped else "accepted"
        record = received.store(batch, known or received.record(act.batch, rollout, state, ""))
        found = self._dispatcher.commands(batch, [order.id for order, _ in orders])
        answers = [self._order(batch, received, record, order, signed, found) for order, signed in orders]
        self._answer_orders(batch, received, record, answers)

    def _answer_orders(
        self, batch: Batch, received: "_ReceivedRequest", record: RequestRecord, answers: list[Update | None]
    ) -> None:
        """Answer the request as a whole, and the orders that did not become commands."""
        refused = [answer for answer in answers if answer is not None and answer.state == "refused"]
        if refused:
            record.detail = f"{len(refused)} of {len(answers)} orders refused: {refused[0].detail}"[:DETAIL_MAX]
        if record.state != "stopped":
            record.state = "refused" if len(refused) == len(answers) else "accepted"
        received.answer(batch, record.state, "orders" if refused else "", record.detail)
        for answer in answers:
            if answer is not None:
                batch.changes.updates.append((received.org, received.principal, answer))

    def _order(
        self,
        batch: Batch,
        received: "_ReceivedRequest",
        record: RequestRecord,
        order: Order,
        signed: Signed,
        found: dict[str, Command],
    ) -> Update | None:
        """Make a command of one order; return the answer if it does not become one."""
        command = found.get(order.id)
        if command is not None:
            if command.order.statement != signed.statement:
                return received.refusal(order, "duplicate-id", "another order has this id")
            return command_update(command, record.id, received.now)
        machine = self._cache.find(received.org, order.machine) if order.org == received.org else None
        if machine is None:
            return received.refusal(order, "unknown-machine", f"{received.org} has no machine {order.machine}")
        if machine.state.presence is Presence.RETIRED:
            return received.refusal(order, "retired", f"{order.machine} was decommissioned")
        if self._dispatcher.open_count(machine) >= OPEN_MAX:
            return received.refusal(order, "too-many", f"{order.machine} has {OPEN_MAX} open commands")
        command = self._verified(_command(record, machine, order, signed, received.now), received.now)
        self._dispatcher.add(batch, command, order.arguments, received.principal)
        found[order.id] = command
        return None

    def _verified(self, command: Command, now: int) -> Command:
        """Return the command, rejected if its signature is not by a key that the organisation's machines obey."""
        keys = self._configs.key_ring(command.org)
        if keys is None:
            return command
        try:
            keys.open(command.order, Order, now)
        except SignatureError as error:
            return replace(command, state=CommandState.REJECTED, reason="signature", detail=str(error), ended_at=now)
        return command

    def _rollout(self, batch: Batch, received: "_ReceivedRequest", act: Act) -> Rollout | None:
        """Return the rollout of the request's batch, set by its first request; None if it holds nothing back."""
        key = (received.org, received.principal, act.batch)
        progress = self._dispatcher.rollouts.get(key)
        if progress is None:
            stored = self._store.commands.requests(key)
            earlier = stored or [request for request in batch.changes.requests.values() if _is_of(request, key)]
            rollout = act.rollout if not earlier else earlier[0].rollout
            if rollout is None or rollout == Rollout():
                return None
            progress = self._store.commands.progress(stored) or RolloutProgress(rollout)
            self._dispatcher.rollouts.start(key, progress)
        if received.request.id not in progress.requests:
            progress.requests.append(received.request.id)
        return progress.rollout

    def _cancel(self, batch: Batch, received: "_ReceivedRequest", cancel: Cancel, known: RequestRecord | None) -> None:
        received.store(batch, known or received.record("", None, "accepted", ""))
        received.answer(batch, "accepted", "", "")
        found = self._dispatcher.commands(batch, cancel.commands)
        for id_ in dict.fromkeys(cancel.commands):
            answer = self._cancel_one(batch, received, id_, found.get(id_))
            batch.changes.updates.append((received.org, received.principal, answer))

    def _cancel_one(self, batch: Batch, received: "_ReceivedRequest", id_: str, command: Command | None) -> Update:
        request, now = received.request, received.now
        if command is None or command.org != received.org:
            detail = "there is no such command"
            return Update(
                request=request.id, command=id_, state="refused", at=now, reason="unknown-command", detail=detail
            )
        detail = f"cancelled by {request.actor or received.principal}"
        after = self._dispatcher.cancel(batch, command, received.principal, "cancelled", detail, now)
        answer = command_update(after, request.id, now)
        if after.state is CommandState.CANCELLED:
            return answer
        return answer.model_copy(update={"reason": "too-late", "detail": f"it is {after.state} already"})


def _answer_invalid(batch: Batch, address: Address, message: Message, error: ValidationError, now: int) -> None:
    """Answer an invalid request whose id can be read."""
    id_ = read_id(message.payload, "id")
    if id_ is not None:
        detail = explain(error)[1][:DETAIL_MAX]
        update = Update(request=id_, state="refused", at=now, reason="invalid", detail=detail)
        batch.changes.updates.append((address.org, username(address.org, address.principal), update))


class _ReceivedRequest:
    """A request with its origin. `place`: index of its answer among the batch's updates, before those of its orders."""

    def __init__(self, request: Request, org: str, principal: str, now: int, place: int) -> None:
        self.request = request
        self.org = org
        self.principal = principal
        self.now = now
        self._place = place

    def record(self, batch_id: str, rollout: Rollout | None, state: str, detail: str) -> RequestRecord:
        """Return a new record of the request."""
        kind = self.request.change.kind
        fields = (self.request.id, self.org, self.principal, self.request.actor, kind, batch_id or self.request.id)
        return RequestRecord(*fields, rollout, state, detail, self.now)

    def store(self, batch: Batch, record: RequestRecord) -> RequestRecord:
        """Store the record with the batch, and return it."""
        batch.changes.requests[record.id] = record
        return record

    def answer(self, batch: Batch, state: str, reason: str, detail: str) -> None:
        """Answer the request as a whole."""
        fields = {"request": self.request.id, "state": state, "at": self.now, "reason": reason}
        update = Update.model_validate({**fields, "detail": detail[:DETAIL_MAX]})
        batch.changes.updates.insert(self._place, (self.org, self.principal, update))

    def refusal(self, order: Order, reason: str, detail: str) -> Update:
        """Return the answer to an order that does not become a command."""
        return Update(
            request=self.request.id,
            command=order.id,
            machine=order.machine,
            action=order.action,
            state="refused",
            at=self.now,
            reason=reason,
            detail=detail,
        )


def _command(record: RequestRecord, machine: Machine, order: Order, signed: Signed, now: int) -> Command:
    return Command(
        id=order.id,
        machine_id=machine.id,
        org=machine.org,
        machine=machine.name,
        request=record.id,
        principal=record.principal,
        batch=record.batch,
        gated=record.rollout is not None,
        action=order.action,
        order=signed,
        expires_at=order.expires_at,
        created_at=now,
    )


def _is_of(request: RequestRecord, key: RolloutKey) -> bool:
    return (request.org, request.principal, request.batch) == key
