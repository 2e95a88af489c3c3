"""Enrolment of this machine with a token: the command `dashfleet agent enrol`.

Invariants:
- The machine's secret is generated here and never leaves; only the record that lets a broker verify it is sent.
- The request is on disk before it is sent: after a crash or a lost answer, the same request gets the same machine id,
  and the token is not used twice.
- Enrolment is complete when a broker has accepted the machine's own secret, and not before.
"""

import json
import logging
import shutil
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import ValidationError

from agent.inventory import hardware_id
from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from broker.access.credentials import hash_secret, new_secret
from broker.access.policy import Principal, Role
from broker.client.disconnect_reasons import UNTRUSTED
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, Transport
from runtime import files
from runtime.clock import Clock
from runtime.errors import UserError
from runtime.settings.agent import AgentSettings
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from schemas.contract import topics
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest, Token

ANSWER_SECONDS = 120.0
"""Longest wait for an answer; then the operator is told what is missing, and may run the command again."""

NEW_TOKEN_SECONDS = 3.0
"""A broker may refuse a new token for this time, as it reads the principals each second."""

PROOF_SECONDS = 30.0
"""Longest wait until the broker accepts the new machine."""

WAIT_SECONDS = 0.2
REFUSALS = {
    "used-up": "the token has enrolled all the machines that it allows: ask for another (dashfleet token create)",
    "expired": "the token has expired: ask for another (dashfleet token create)",
    "too-many": "there are too many machines of this name: choose another with --machine",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PendingEnrolment:
    """The request of this machine, and its future secret."""

    token: str
    nonce: str
    machine: str
    secret: str = field(repr=False)


class Enrolment:
    """An attempt to enrol this machine. `nonce`: 32 random hex digits."""

    def __init__(self, settings: AgentSettings, token: Token, *, nonce: str, clock: Clock) -> None:
        self._settings = settings
        self._layout = StateDirectory(settings.data)
        self._token = token
        self._principal = Principal(Role.ENROL, token.org, token.name)
        self._clock = clock
        self._file = settings.data / "agent" / "enrolling.json"
        self._pending = self._read_pending() or PendingEnrolment(
            self._principal.username, nonce, settings.machine, new_secret()
        )

    def run(self) -> str:
        """Enrol, and return the machine's id. Raises UserError with the reason of a failure."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.replace(self._file, json.dumps(asdict(self._pending)) + "\n")
            answer = self._request()
            if answer.machine is None:
                self._file.unlink()
                raise UserError(_explain_refusal(answer))
            self._prove(answer.machine)
            self._complete(answer, answer.machine)
        except OSError as error:
            raise UserError(f"cannot write in {self._settings.data} ({error.strerror}): see --data") from None
        return answer.machine

    def _read_pending(self) -> PendingEnrolment | None:
        """Return the request of an earlier attempt with this token that was not completed."""
        try:
            pending = PendingEnrolment(**json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):  # TypeError: other fields than these
            return None
        return pending if pending.token == self._principal.username else None

    def _request(self) -> EnrolAnswer:
        pending, own = self._pending, {"org": self._token.org, "principal": self._principal.level}
        request = EnrolRequest(
            nonce=pending.nonce,
            machine=pending.machine,
            hostname=socket.gethostname().encode(errors="replace").decode()[:256],
            hardware_id=hardware_id(),
            secret_hash=hash_secret(pending.secret),
        )
        message = Message(topics.ENROL_REQUEST.at(**own), request.encode(), topics.ENROL_REQUEST.qos)
        subscriptions = [(topics.ENROL_ANSWER.at(**own), topics.ENROL_ANSWER.qos)]
        client_id = f"{self._principal.username}.{pending.nonce}"
        with self._transport(self._principal.username, self._token.secret, client_id, subscriptions) as transport:
            return self._converse(transport, message)

    def _converse(self, transport: Transport, request: Message) -> EnrolAnswer:
        """Send the request with backoff until it is answered."""
        backoff = Backoff(first_seconds=1.0, most_seconds=15.0)
        send_at, started_at = 0.0, self._clock.monotonic()
        problem = "the server did not answer: does its ingestor run?"
        while self._clock.monotonic() - started_at < ANSWER_SECONDS:
            for event in transport.receive(10, WAIT_SECONDS):
                if (answer := self._answer(event)) is not None:
                    return answer
                if isinstance(event, Connected):
                    send_at = 0.0
                elif isinstance(event, Disconnected):
                    problem = self._explain(event, self._clock.monotonic() - started_at)
            if transport.connected and self._clock.monotonic() >= send_at:
                transport.publish(request)
                send_at = self._clock.monotonic() + 1.0 + backoff.next()
        raise UserError(f"{problem}; run the same command again, which continues where this one stopped")

    def _explain(self, event: Disconnected, seconds: float) -> str:
        """Return why there is no connection after this time.

        Raises UserError when the token or the certificate is not valid.
        """
        if event.refused and seconds > NEW_TOKEN_SECONDS:
            raise UserError(f"{self._settings.server} refused the token: it is wrong, revoked, or another server's")
        if UNTRUSTED in event.reason:
            raise UserError(event.reason.replace("set ca_file to", "name with --ca-file"))
        problem = f"there is no connection to {self._settings.server}: {event.reason}"
        log.log(logging.DEBUG if event.refused else logging.WARNING, "%s", problem)
        return problem

    def _answer(self, event: Event) -> EnrolAnswer | None:
        if not isinstance(event, Message):
            return None
        try:
            answer = EnrolAnswer.decode(event.payload)
        except ValidationError:
            return None
        return answer if answer.nonce == self._pending.nonce else None

    def _prove(self, machine: str) -> None:
        """Connect once as the machine. The broker may need a moment until it knows the machine."""
        username = Principal(Role.MACHINE, self._token.org, machine).username
        deadline, problem = self._clock.monotonic() + PROOF_SECONDS, "it did not answer"
        with self._transport(username, self._pending.secret, username, []) as transport:
            while self._clock.monotonic() < deadline:
                for event in transport.receive(10, WAIT_SECONDS):
                    if isinstance(event, Connected):
                        return
                    if isinstance(event, Disconnected):
                        problem = event.reason
        raise UserError(
            f"{self._token.org}/{machine} is registered, but {self._settings.server} does not accept it yet "
            f"({problem}); run the same command again"
        )

    def _complete(self, answer: EnrolAnswer, machine: str) -> None:
        """Write the files that the agent needs; the secret last, as its presence means that all are there."""
        data = self._settings.data / "agent"
        values = {"server": self._settings.server, "org": self._token.org, "machine": machine}
        if self._settings.ca_file is not None:
            authority = data / "ca.pem"
            if not (authority.exists() and authority.samefile(self._settings.ca_file)):
                shutil.copyfile(self._settings.ca_file, authority)
            values["ca_file"] = str(authority)
        create_before_keys(data, self._clock)
        write_keys(data / KEYS_FILE, self._token.org, answer.keys)
        self._layout.enrol(values)
        write_secret(self._layout.secret("agent"), self._pending.secret)
        self._file.unlink()

    def _transport(
        self, username: str, password: str, client_id: str, subscriptions: Sequence[tuple[str, int]]
    ) -> closing[Mqtt]:
        transport = Mqtt(
            self._settings.address,
            username=username,
            password=password,
            client_id=client_id,
            subscriptions=subscriptions,
            ca_file=self._settings.ca_file,
            backoff=Backoff(first_seconds=1.0, most_seconds=4.0),
        )
        return closing(transport)


def enrolled_as(data: Path) -> str | None:
    """Return the `org/machine` of a state directory, None when it is not enrolled."""
    layout = StateDirectory(data)
    if not layout.secret("agent").exists():
        return None
    known = layout.enrolled
    return f"{known['org']}/{known['machine']}" if {"org", "machine"} <= known.keys() else layout.machine


def _explain_refusal(answer: EnrolAnswer) -> str:
    if answer.refused == "invalid":
        return f"the server could not read the request ({answer.detail}): install the server's version here"
    return REFUSALS.get(answer.refused, "the server refused this machine without a reason")
