"""From a request to commands: what is refused, what is recorded, and what is answered.

Invariants:
- A request, and each of its orders, is recorded once. Said again, it is answered again, from what was recorded.
- A principal can neither join nor learn anything of another one's request by using its id.
- A signature that does not fit is refused here when the organisation's keys are known; but what counts is the check of
  the machine, which trusts neither this process nor its database.
"""

from collections.abc import Callable
from dataclasses import replace

from pydantic import ValidationError

from broker.client.transport import Message
from ingestor.commands.dispatcher import Dispatch
from ingestor.domain.command import Command
from ingestor.domain.command_changes import RequestRecord, standing, update, username
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from ingestor.domain.rollout import Progress, RolloutKey
from ingestor.intake.message_handlers import Batch, RefusedError
from ingestor.storage.command_store import CommandStore
from schemas.contract.administration import Administration
from schemas.contract.commands import Act, Cancel, CommandState, Order, Request, Rollout, Update
from schemas.contract.messages import Signed
from schemas.contract.signing import KeyRing, SignatureError
from schemas.contract.topics import Address

OPEN_MAX = 100
"""Commands of one machine that wait or run: more come only from a broken or hostile program."""

DETAIL_MAX = 1000


class Requests:
    """Reads requests. `find` gives a machine, `keys` those of an organisation: None when it has none; `administer`
    is `ingestor.admin.requests`'s, which commits by itself.
    """

    def __init__(
        self,
        store: CommandStore,
        dispatch: Dispatch,
        *,
        find: Callable[[str, str], Machine | None],
        keys: Callable[[str], KeyRing | None],
        is_org: Callable[[str], bool],
        administer: Callable[[RequestRecord, str, Administration], RequestRecord | None],
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._find = find
        self._keys = keys
        self._is_org = is_org
        self._administer = administer

    def take(self, batch: Batch, address: Address, message: Message, now: int) -> None:
        """Read one request into the batch. Raises RefusedError or ValidationError when it is none."""
        request = Request.decode(message.payload)
        if not self._is_org(address.org):
            raise RefusedError("unknown-organisation", f"there is no organisation {address.org}")
        place = len(batch.changes.updates)
        asked = _Asked(request, address.org, username(address.org, address.principal), now, place)
        known = batch.changes.requests.get(request.id) or self._store.request(request.id)
        if known is not None and (known.org, known.principal) != (asked.org, asked.principal):
            asked.answer(batch, "refused", "duplicate-id", "another request has this id")
            return
        match request.change:
            case Act() as act:
                self._act(batch, asked, act, known)
            case Cancel() as cancel:
                self._cancel(batch, asked, cancel, known)
            case administration:
                record = known or self._administer(asked.new("", None, "", ""), address.principal, administration)
                if record is not None:
                    asked.answer(batch, record.state, "", record.detail)

    def _act(self, batch: Batch, asked: "_Asked", act: Act, known: RequestRecord | None) -> None:
        orders: list[tuple[Order, Signed]] = []
        for number, signed in enumerate(act.orders, 1):
            try:
                orders.append((Order.model_validate_json(signed.statement), signed))
            except ValidationError as error:
                why = f"order {number} cannot be read: {error.errors()[0]['msg']}"
                asked.record(batch, known, act.batch, None, "refused", why)
                asked.answer(batch, "refused", "invalid", why)
                return
        rollout = self._rollout(batch, asked, act)
        progress = self._dispatch.rollouts.get((asked.org, asked.principal, act.batch))
        state = "stopped" if progress is not None and progress.stopped else "accepted"
        record = asked.record(batch, known, act.batch, rollout, state, "")
        found = self._dispatch.commands(batch, [order.id for order, _ in orders])
        answers = [self._order(batch, asked, record, order, signed, found) for order, signed in orders]
        self._conclude(batch, asked, record, answers)

    def _conclude(self, batch: Batch, asked: "_Asked", record: RequestRecord, answers: list[Update | None]) -> None:
        """Answer the request as a whole, and the orders of which no command was made."""
        refused = [answer for answer in answers if answer is not None and answer.state == "refused"]
        if refused:
            record.detail = f"{len(refused)} of {len(answers)} orders refused: {refused[0].detail}"[:DETAIL_MAX]
        if record.state != "stopped":
            record.state = "refused" if len(refused) == len(answers) else "accepted"
        asked.answer(batch, record.state, "orders" if refused else "", record.detail)
        for answer in answers:
            if answer is not None:
                batch.changes.updates.append(update(asked.org, asked.principal, answer))

    def _order(
        self,
        batch: Batch,
        asked: "_Asked",
        record: RequestRecord,
        order: Order,
        signed: Signed,
        found: dict[str, Command],
    ) -> Update | None:
        """Make a command of one order. What to answer, when nothing else says it."""
        command = found.get(order.id)
        if command is not None:
            if command.order.statement != signed.statement:
                return asked.refusal(order, "duplicate-id", "another order has this id")
            return standing(command, record.id, asked.now)
        machine = self._find(asked.org, order.machine) if order.org == asked.org else None
        if machine is None:
            return asked.refusal(order, "unknown-machine", f"{asked.org} has no machine {order.machine}")
        if machine.state.presence is Presence.RETIRED:
            return asked.refusal(order, "retired", f"{order.machine} was taken out of service")
        if self._dispatch.waiting_for(machine) >= OPEN_MAX:
            return asked.refusal(order, "too-many", f"{OPEN_MAX} commands of {order.machine} are open")
        command = self._checked(_command(record, machine, order, signed, asked.now), asked.now)
        self._dispatch.add(batch, command, order.arguments, asked.principal)
        found[order.id] = command
        return None

    def _checked(self, command: Command, now: int) -> Command:
        """The command, rejected when nobody whom the organisation's machines obey has signed it."""
        keys = self._keys(command.org)
        if keys is None:
            return command
        try:
            keys.open(command.order, Order, now)
        except SignatureError as error:
            return replace(command, state=CommandState.REJECTED, reason="signature", detail=str(error), ended_at=now)
        return command

    def _rollout(self, batch: Batch, asked: "_Asked", act: Act) -> Rollout | None:
        """The rollout of the request's batch, which is that of its first request; None when it holds nothing back."""
        key = (asked.org, asked.principal, act.batch)
        progress = self._dispatch.rollouts.get(key)
        if progress is not None:
            return self._join(progress, asked)
        stored = self._store.requests(key)
        earlier = stored or [request for request in batch.changes.requests.values() if _is_of(request, key)]
        rollout = act.rollout if not earlier else earlier[0].rollout
        if rollout is None or rollout == Rollout():
            return None
        self._dispatch.rollouts.begin(key, progress := self._store.progress(stored) or Progress(rollout))
        return self._join(progress, asked)

    def _join(self, progress: Progress, asked: "_Asked") -> Rollout:
        if asked.request.id not in progress.requests:
            progress.requests.append(asked.request.id)
        return progress.rollout

    def _cancel(self, batch: Batch, asked: "_Asked", cancel: Cancel, known: RequestRecord | None) -> None:
        asked.record(batch, known, "", None, "accepted", "")
        asked.answer(batch, "accepted", "", "")
        found = self._dispatch.commands(batch, cancel.commands)
        for id_ in dict.fromkeys(cancel.commands):
            answer = self._cancel_one(batch, asked, id_, found.get(id_))
            batch.changes.updates.append(update(asked.org, asked.principal, answer))

    def _cancel_one(self, batch: Batch, asked: "_Asked", id_: str, command: Command | None) -> Update:
        if command is None or command.org != asked.org:
            detail = "there is no such command"
            return Update(
                request=asked.request.id,
                command=id_,
                state="refused",
                at=asked.now,
                reason="unknown-command",
                detail=detail,
            )
        detail = f"taken back by {asked.request.actor or asked.principal}"
        after = self._dispatch.cancel(batch, command, asked.principal, "cancelled", detail, asked.now)
        answer = standing(after, asked.request.id, asked.now)
        if after.state is CommandState.CANCELLED:
            return answer
        return answer.model_copy(update={"reason": "too-late", "detail": f"it is {after.state} already"})


class _Asked:
    """A request with who asked, where and when. `place`: of the answer to the whole, before those to its orders."""

    def __init__(self, request: Request, org: str, principal: str, now: int, place: int) -> None:
        self.request = request
        self.place = place
        self.org = org
        self.principal = principal
        self.now = now

    def record(
        self, batch: Batch, known: RequestRecord | None, of: str, rollout: Rollout | None, state: str, detail: str
    ) -> RequestRecord:
        """The request as it is stored: as it was, when it had been heard before."""
        record = known or self.new(of, rollout, state, detail)
        batch.changes.requests[record.id] = record
        return record

    def new(self, of: str, rollout: Rollout | None, state: str, detail: str) -> RequestRecord:
        """The request as it is stored when it is heard for the first time."""
        kind = self.request.change.kind
        made = (self.request.id, self.org, self.principal, self.request.actor, kind, of or self.request.id)
        return RequestRecord(*made, rollout, state, detail, self.now)

    def answer(self, batch: Batch, state: str, reason: str, detail: str) -> None:
        """Say what became of the request as a whole."""
        values = {
            "request": self.request.id,
            "state": state,
            "at": self.now,
            "reason": reason,
            "detail": detail[:DETAIL_MAX],
        }
        batch.changes.updates.insert(self.place, update(self.org, self.principal, Update.model_validate(values)))

    def refusal(self, order: Order, reason: str, detail: str) -> Update:
        """That no command was made of an order."""
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
