"""Who is heard: what the ingestor's step does about limits, revoked machines and enrolment.

Invariants:
- Who sends too much, or is revoked, is refused before anything of a message is read.
- A revoked machine is retired, and what brokers retain of it is cleared: when it is noticed, and again whenever
  something of it arrives, since a broker may publish its will later.
- An enrolment is committed by itself before it is answered; asked again, it is answered again.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection

from broker.client.transport import Message, Transport
from ingestor.domain.command_changes import username
from ingestor.domain.machine import Machine
from ingestor.domain.presence import PresenceState, on_reinstated, on_revoked
from ingestor.intake.limits import Key, Limits
from ingestor.intake.message_handlers import Batch, RefusedError, Rejected
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.enrolment import EnrolRequest
from schemas.contract.topics import Address

Change = Callable[[Collection[Machine], Callable[[Machine], PresenceState]], None]
"""Makes of each of these machines' presence what the function says."""

_RETAINED = (topics.STATUS, topics.INFO, topics.CONFIG)


class Admission:
    """`now`: the server's wall clock in milliseconds; `rules`: of which alerts may be retained."""

    def __init__(self, store: Store, *, limits: Limits, now: Callable[[], int], rules: Collection[str] = ()) -> None:
        self._store = store
        self._limits = limits
        self._now = now
        self._rules = rules
        self._revoked: frozenset[Key] = frozenset()
        self._cleared: set[Key] = set()
        self._outgoing: deque[Message] = deque()
        self.readers = {topics.ENROL_REQUEST: self._enrol}

    def refuses(self, batch: Batch, message: Message) -> bool:
        """Whether a message is not to be read."""
        address = topics.parse(message.topic)
        if address is None:
            return False  # `Intake` sets it aside
        if not self._limits.admit(address.org, address.machine or address.principal, len(message.payload)):
            return True
        if (address.org, address.machine) not in self._revoked:
            return False
        if message.payload:
            why = f"{address.machine} was revoked"
            batch.rejected.append(Rejected(self._now(), message.topic, "revoked", why, message.payload))
            if address.topic.retain:
                self._outgoing.append(Message(message.topic, b"", address.topic.qos, retain=True))
        return True

    def load(self) -> None:
        """Read who is revoked."""
        self._revoked = self._store.revoked_machines()

    def retire(self, fleet: Collection[Machine], find: Callable[[str, str], Machine | None], change: Change) -> None:
        """Retire the machines that are revoked, or take them back; `change` notes what presence becomes.

        `find` adds to the fleet what was never heard, and so is not in it yet.
        """
        for org, name in self._revoked - self._cleared:
            find(org, name)
        change(fleet, self._judged)
        for org, name in self._revoked - self._cleared:
            whose = {"org": org, "machine": name}
            retained = [topic.at(**whose) for topic in _RETAINED]
            retained += [topics.ALERT.at(**whose, rule=rule) for rule in self._rules]
            self._outgoing.extend(Message(topic, b"", qos=1, retain=True) for topic in retained)
        self._cleared = set(self._revoked)

    def _judged(self, machine: Machine) -> PresenceState:
        revoked = (machine.org, machine.name) in self._revoked
        return (on_revoked if revoked else on_reinstated)(machine.state, self._now())

    def dropped(self) -> Counter[Key]:
        """How many messages were over a limit since the last call, by whose it was."""
        return self._limits.dropped()

    def publish(self, transport: Transport) -> None:
        """Say what there is to say: answers that are committed, and what is cleared."""
        while self._outgoing and transport.publish(self._outgoing[0]):
            self._outgoing.popleft()

    def _enrol(self, _batch: Batch, address: Address, message: Message, now: int) -> None:
        request = EnrolRequest.decode(message.payload)
        answer = self._store.enrol(address.org, username(address.org, address.principal), request, now)
        if answer is None:
            raise RefusedError("unknown-token", f"{address.org} has no token {address.principal}")
        topic = topics.ENROL_ANSWER.at(org=address.org, principal=address.principal)
        self._outgoing.append(Message(topic, answer.encode(), topics.ENROL_ANSWER.qos))
