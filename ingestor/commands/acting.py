"""All of the ingestor that is about acting on machines, as its step uses it: requests in, commands and updates out."""

from collections.abc import Callable, Iterable, Mapping

from broker.client.transport import Message, Transport
from ingestor.commands.dispatcher import Dispatch
from ingestor.commands.fair_queue import Turns
from ingestor.commands.outbound_queue import Outgoing
from ingestor.commands.request_handler import Requests
from ingestor.domain.command_changes import Changes
from ingestor.domain.machine import Machine
from ingestor.intake.message_handlers import Batch, Rejected
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.messages import OrgConfig, Signed
from schemas.contract.signing import KeyRing, keys_in_force


class Acting:
    """`find` gives a machine, `find_known` one that is in memory, `configs` the organisations' configurations.

    `owns`: whether an organisation's commands are this ingestor's.
    """

    def __init__(
        self,
        store: Store,
        *,
        find: Callable[[str, str], Machine | None],
        find_known: Callable[[str, str], Machine | None],
        owns: Callable[[str], bool],
        configs: Callable[[], Mapping[str, OrgConfig]],
        now: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._configs = configs
        self._now = now
        self._turns = Turns()
        self._outgoing = Outgoing()
        self._rings: dict[str, tuple[tuple[Signed, ...], KeyRing]] = {}
        self._dispatch = Dispatch(store.commands, find=find_known, owns=owns, random=random)
        self._requests = Requests(
            store.commands,
            self._dispatch,
            find=find,
            keys=self._keys,
            is_org=lambda org: org in self._configs(),
            administer=store.administer,
        )
        self.take_result = self._dispatch.take_result
        self.readers = {topics.REQUEST: self._requests.take}

    @property
    def busy(self) -> bool:
        """Whether the next step should begin at once."""
        return bool(self._turns) or bool(self._outgoing) or self._dispatch.busy

    def waits(self, batch: Batch, message: Message) -> bool:
        """Whether a message is a request, which waits for its turn or, when too many do, is set aside."""
        address = topics.parse(message.topic)
        if address is None or address.topic is not topics.REQUEST:
            return False
        if not self._turns.put(message):
            why = "more requests than may wait came from here"
            batch.rejected.append(Rejected(self._now(), message.topic, "too-many-requests", why, message.payload))
        return True

    def take_turns(self) -> list[Message]:
        """The requests to read now."""
        return self._turns.take()

    def step(self, batch: Batch, *, hearing: bool) -> None:
        """Add to the batch what is to be done with commands now. `hearing`: there is a broker to send to."""
        self._dispatch.step(batch, self._now(), hearing=hearing)

    def waiting(self, fleet: Iterable[Machine]) -> list[Machine]:
        """Those of these machines for which a command is open."""
        return [machine for machine in fleet if self._dispatch.waiting_for(machine)]

    def look_at(self, machines: Iterable[Machine]) -> None:
        """Another ingestor has heard these machines: what waits for them may have its time."""
        self._dispatch.look_at(machines)

    def committed(self, changes: Changes) -> None:
        """These changes are in the database: what they say may be published."""
        self._outgoing.add(changes)

    def publish(self, transport: Transport) -> None:
        """Say what is committed."""
        self._outgoing.send(transport)

    def load(self) -> None:
        """Take everything up from the database, and nothing from memory but what is committed."""
        self._dispatch.load()

    def clear(self) -> None:
        """Forget everything."""
        self._turns.clear()
        self._outgoing.clear()
        self._dispatch.clear()

    def _keys(self, org: str) -> KeyRing | None:
        """Whose orders the machines of an organisation obey; None when it has never had a key."""
        config = self._configs().get(org)
        changes = () if config is None else config.key_changes
        if not changes:
            return None
        if org not in self._rings or self._rings[org][0] != changes:
            ring = KeyRing(org, dict(keys_in_force(changes, org, self._now())))
            self._rings[org] = (changes, ring)
        return self._rings[org][1]
