"""A run that checks an actor, a program that orders `ping` of the machine `probe`. The run is its broker and ingestor.

The program is started several times; each time it ends by itself, with the exit status 0 if the machine has succeeded.
"""

import json
import secrets
from typing import TYPE_CHECKING

from broker.client.transport import Message
from broker.conformance import assertions as df
from broker.conformance.actor_requests import ActorRequests
from broker.conformance.program import ProgramWatch, judge_identity
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.commands import Update

if TYPE_CHECKING:
    from broker.conformance.order_signer import SeedSigner

MACHINE, ACTION = "probe", "ping"
QUIET_SECONDS = 1.0
INVALID = (b"not json", b"\xff\xfe", b'{"v": 1, "state": "succeeded", "at": NaN}', b"[]", b"{}")


class ActorRun:
    """A run. `signer`: the key that the program is to sign with. `patience_seconds`: the longest time to wait."""

    def __init__(self, watch: ProgramWatch, signer: "SeedSigner", clock: Clock, *, patience_seconds: float) -> None:
        self._watch = watch
        self._broker = watch.broker
        self._clock = clock
        self._patience = patience_seconds
        self.report = ConformanceReport("actor", watch.broker.principal.username)
        self._requests = ActorRequests(watch, signer, clock, self.report, machine=MACHINE, action=ACTION)

    def run(self) -> ConformanceReport:
        """Check everything; return the verdicts."""
        if self._succeed():
            self._fail()
            self._refuse()
            self._send_invalid()
        judge_identity(self.report, self._broker, df.ACTOR_IDENTITY, df.ACTOR_CLEAN)
        self._requests.judge_ids()
        return self.report

    def _succeed(self) -> bool:
        """Answer late, in between about other Requests, and let the order time out before it succeeds."""
        if not self._start() or not self._leave_unanswered():
            return False
        self._update("failed", request=secrets.token_hex(16), command=secrets.token_hex(16))
        self._update("refused", request=secrets.token_hex(16), reason="orders")
        if not self._runs_on(df.ACTOR_OTHERS, "an Update about another Request"):
            return False
        self._update("accepted")
        for state in ("queued", "sent", "running", "timed-out"):
            self._update(state, command=self._requests.order_id)
        if not self._runs_on(df.ACTOR_NOT_FINAL, "the state timed-out"):
            return False
        self._update("succeeded", command=self._requests.order_id, unknown=True)
        understood = self._ends()
        if not understood:
            self._update("succeeded", command=self._requests.order_id)
        if self._ends():
            self.report.check(df.ACTOR_UNKNOWN_FIELDS, understood, "it did not end after an Update with one")
        status = self._watch.program.status()
        self.report.check(df.ACTOR_SUCCEEDED, status == 0, _ended(status))
        return status is not None

    def _leave_unanswered(self) -> bool:
        """Break the connection after the first Request, and wait for two repetitions."""
        requests, broker = self._requests, self._broker
        known = requests.repetitions
        broker.cut()
        again = self._watch.wait_for(lambda: requests.repetitions > known, self._patience)
        self.report.check(df.ACTOR_AGAIN_CONNECTED, again, f"not within {self._patience:g} s of a broken connection")
        if not again:
            return False
        known = requests.repetitions
        again = self._watch.wait_for(lambda: requests.repetitions > known, self._patience)
        self.report.check(df.ACTOR_AGAIN, again, f"it was not repeated within {self._patience:g} s")
        return again

    def _fail(self) -> None:
        """Tell twice that the order runs, and break the connection; it is rejected meanwhile."""
        if not self._start():
            return
        self._update("accepted")
        for _ in range(2):
            self._update("running", command=self._requests.order_id)
        if not self._runs_on(df.ACTOR_TWICE, "an Update that arrives twice"):
            return
        known = self._requests.repetitions
        self._broker.cut()
        asked = self._watch.wait_for(lambda: self._requests.repetitions > known, self._patience)
        self.report.check(df.ACTOR_ASKS, asked, f"it was not repeated within {self._patience:g} s")
        self._update("accepted")
        self._update("rejected", command=self._requests.order_id, reason="not-allowed")
        self._judge_failure(df.ACTOR_FAILED)

    def _refuse(self) -> None:
        if self._start():
            self._update("refused", reason="orders", detail="refused by dashfleet conform")
            self._judge_failure(df.ACTOR_REFUSED)

    def _send_invalid(self) -> None:
        if not self._start():
            return
        self._update("accepted")
        for payload in INVALID:
            self._broker.send(Message(self._topic(), payload, topics.UPDATE.qos))
        if not self._runs_on(df.ACTOR_INVALID, "an invalid message"):
            return
        self._update("succeeded", command=self._requests.order_id)
        self.report.check(df.ACTOR_INVALID, self._ends(), "it did not read the Update after it")

    def _start(self) -> bool:
        """Start the program; wait for its first Request, and judge it."""
        self._watch.program.kill()
        self._broker.cut()
        self._requests.begin()
        self._watch.program.start()
        if not self._watch.wait_for(lambda: self._requests.is_readable, self._patience):
            self._requests.explain_silence(self._patience)
            return False
        return True

    def _runs_on(self, assertion: df.Assertion, after: str) -> bool:
        self._watch.listen(QUIET_SECONDS)
        status = self._watch.program.status()
        self.report.check(assertion, status is None, f"{_ended(status)} after {after}")
        return status is None

    def _ends(self) -> bool:
        return self._watch.wait_for(lambda: self._watch.program.status() is not None, self._patience)

    def _judge_failure(self, assertion: df.Assertion) -> None:
        self._ends()
        status = self._watch.program.status()
        self.report.check(assertion, status not in (None, 0), _ended(status))

    def _update(
        self,
        state: str,
        *,
        request: str | None = None,
        command: str | None = None,
        reason: str = "",
        detail: str = "",
        unknown: bool = False,
    ) -> None:
        fields = {"request": request or self._requests.id, "state": state, "at": self._clock.now()}
        fields |= {"command": command, "reason": reason, "detail": detail}
        if command is not None:
            fields |= {"machine": MACHINE, "action": ACTION}
        payload = json.loads(Update.model_validate(fields).encode())
        if unknown:
            payload["unknown_field"] = {"of": [1, None]}
        self._broker.send(Message(self._topic(), json.dumps(payload).encode(), topics.UPDATE.qos))

    def _topic(self) -> str:
        principal = self._broker.principal
        return topics.UPDATE.at(org=principal.org, principal=principal.level)


def _ended(status: int | None) -> str:
    return "it did not end" if status is None else f"it ended with the exit status {status}"
