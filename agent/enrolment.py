"""Getting this machine its place in the fleet, with a token: what `dashfleet agent enrol` does.

Invariants:
- The machine's secret is made here and stays here; what travels is the record by which a broker knows it.
- What is asked for is on disk before it is asked: after a crash, or an answer that was lost, the same request gets the
  same place, and the token is not used twice.
- It is done when a broker has let the machine in with its own secret, and not before.
"""

import json
import logging
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from agent.inventory import hardware_id
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from broker.access.credentials import hash_secret, new_secret
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, Transport
from runtime import files
from runtime.errors import UserError
from runtime.settings.agent import AgentSettings
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from schemas.contract import topics
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest, Token

PATIENCE_SECONDS = 120.0
"""For an answer; then the person at the terminal is told what is missing, and may ask again."""

NEWS_SECONDS = 3.0
"""A token that was just made may be refused for so long, as brokers read the principals each second."""

PROOF_SECONDS = 30.0
"""For the broker to take notice of the new machine."""

WAIT_SECONDS = 0.2
REFUSALS = {
    "used-up": "the token has made all the machines that it may: ask for another (dashfleet token create)",
    "expired": "the token has expired: ask for another (dashfleet token create)",
    "too-many": "there are too many machines of this name: choose another with --machine",
}

log = logging.getLogger(__name__)


class OpenTransport(Protocol):
    """Makes a transport for somebody who asks for a place, or has one."""

    def __call__(
        self, *, username: str, password: str, client_id: str, subscriptions: Sequence[tuple[str, int]]
    ) -> Transport:
        """A transport that is not connected yet."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What this machine asks for, and the secret that it will have."""

    token: str
    nonce: str
    machine: str
    secret: str = field(repr=False)


class Enrolment:
    """One attempt to enrol this machine. `nonce`: 32 random hex digits; `monotonic`: seconds that never step."""

    def __init__(
        self,
        settings: AgentSettings,
        token: Token,
        *,
        open_transport: OpenTransport,
        nonce: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._layout = StateDirectory(settings.data)
        self._token = token
        self._principal = Principal(Role.ENROL, token.org, token.name)
        self._open_transport = open_transport
        self._monotonic = monotonic
        self._pending = settings.data / "agent" / "enrolling.json"
        self._wish = self._pending_wish() or Wish(self._principal.username, nonce, settings.machine, new_secret())

    def run(self) -> str:
        """Enrol, and return the machine's id. Raises UserError with what is in the way."""
        try:
            self._pending.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.replace(self._pending, json.dumps(asdict(self._wish)) + "\n")
            answer = self._ask()
            if answer.machine is None:
                self._pending.unlink()
                raise UserError(REFUSALS.get(answer.refused, "the server refused this machine, and did not say why"))
            self._prove(answer.machine)
            self._settle(answer, answer.machine)
        except OSError as error:
            raise UserError(f"cannot write in {self._settings.data} ({error.strerror}): see --data") from None
        return answer.machine

    def _pending_wish(self) -> Wish | None:
        """What was asked for with this token before, and not settled."""
        try:
            wish = Wish(**json.loads(self._pending.read_text()))
        except (OSError, ValueError, TypeError):  # TypeError: other fields than these
            return None
        return wish if wish.token == self._principal.username else None

    def _ask(self) -> EnrolAnswer:
        """Say the request until it is answered."""
        wish, own = self._wish, {"org": self._token.org, "principal": self._principal.level}
        request = EnrolRequest(
            nonce=wish.nonce,
            machine=wish.machine,
            hostname=socket.gethostname().encode(errors="replace").decode()[:256],
            hardware_id=hardware_id(),
            secret_hash=hash_secret(wish.secret),
        )
        question = Message(topics.ENROL_REQUEST.at(**own), request.encode(), topics.ENROL_REQUEST.qos)
        heard = [(topics.ENROL_ANSWER.at(**own), topics.ENROL_ANSWER.qos)]
        client_id = f"{self._principal.username}.{wish.nonce}"
        with self._transport(self._principal.username, self._token.secret, client_id, heard) as transport:
            return self._converse(transport, question)

    def _converse(self, transport: Transport, question: Message) -> EnrolAnswer:
        backoff = Backoff(first_seconds=1.0, most_seconds=15.0)
        ask_at, begun = 0.0, self._monotonic()
        last = "the server did not answer: does its ingestor run?"
        while self._monotonic() - begun < PATIENCE_SECONDS:
            for event in transport.receive(10, WAIT_SECONDS):
                if (answer := self._answer(event)) is not None:
                    return answer
                if isinstance(event, Connected):
                    ask_at = 0.0
                elif isinstance(event, Disconnected):
                    last = self._explain(event, self._monotonic() - begun)
            if transport.connected and self._monotonic() >= ask_at:
                transport.publish(question)
                ask_at = self._monotonic() + 1.0 + backoff.next()
        raise UserError(f"{last}; run the same command again, which goes on where this one stopped")

    def _explain(self, event: Disconnected, seconds: float) -> str:
        """Why there is no connection after so many seconds. Raises UserError when the token is not good."""
        if event.refused and seconds > NEWS_SECONDS:
            raise UserError(f"{self._settings.server} refused the token: it is wrong, revoked, or another server's")
        why = f"there is no connection to {self._settings.server}: {event.reason}"
        log.log(logging.DEBUG if event.refused else logging.WARNING, "%s", why)
        return why

    def _answer(self, event: Event) -> EnrolAnswer | None:
        """The answer to this machine's question, if this is it."""
        if not isinstance(event, Message):
            return None
        try:
            answer = EnrolAnswer.decode(event.payload)
        except ValidationError:
            return None
        return answer if answer.nonce == self._wish.nonce else None

    def _prove(self, machine: str) -> None:
        """Connect once as the machine. The broker may need a moment to take notice of it."""
        username = Principal(Role.MACHINE, self._token.org, machine).username
        deadline, last = self._monotonic() + PROOF_SECONDS, "it did not answer"
        with self._transport(username, self._wish.secret, username, []) as transport:
            while self._monotonic() < deadline:
                for event in transport.receive(10, WAIT_SECONDS):
                    if isinstance(event, Connected):
                        return
                    if isinstance(event, Disconnected):
                        last = event.reason
        raise UserError(
            f"{self._token.org}/{machine} has its place, but {self._settings.server} does not let it in yet ({last}); "
            "run the same command again"
        )

    def _settle(self, answer: EnrolAnswer, machine: str) -> None:
        """Write what the agent needs; the secret last, as its being there means that all is."""
        data = self._settings.data / "agent"
        settled = {"server": self._settings.server, "org": self._token.org, "machine": machine}
        if self._settings.ca_file is not None:
            authority = data / "ca.pem"
            if not (authority.exists() and authority.samefile(self._settings.ca_file)):
                shutil.copyfile(self._settings.ca_file, authority)
            settled["ca_file"] = str(authority)
        write_keys(data / KEYS_FILE, self._token.org, answer.keys)
        self._layout.enrol(settled)
        write_secret(self._layout.secret("agent"), self._wish.secret)
        self._pending.unlink()

    @contextmanager
    def _transport(
        self, username: str, password: str, client_id: str, subscriptions: Sequence[tuple[str, int]]
    ) -> Iterator[Transport]:
        transport = self._open_transport(
            username=username, password=password, client_id=client_id, subscriptions=subscriptions
        )
        try:
            yield transport
        finally:
            transport.close()


def over_mqtt(settings: AgentSettings) -> OpenTransport:
    """Transports to the broker of these settings."""

    def open_transport(
        *, username: str, password: str, client_id: str, subscriptions: Sequence[tuple[str, int]]
    ) -> Transport:
        return Mqtt(
            settings.address,
            username=username,
            password=password,
            client_id=client_id,
            subscriptions=subscriptions,
            ca_file=settings.ca_file,
            backoff=Backoff(first_seconds=1.0, most_seconds=4.0),
        )

    return open_transport


def enrolled_as(data: Path) -> str | None:
    """What the machine of this state directory is called already, None when it is not enrolled."""
    layout = StateDirectory(data)
    if not layout.secret("agent").exists():
        return None
    known = layout.enrolled
    return f"{known['org']}/{known['machine']}" if {"org", "machine"} <= known.keys() else layout.machine
