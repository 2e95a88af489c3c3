"""The orders of a run that checks an agent: allowed ones, repeated ones, and those that it must reject."""

import json
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from broker.conformance import assertions as df
from broker.conformance.agent_traffic import AgentTraffic
from broker.conformance.assertions import Assertion
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.commands import CommandMessage, Order, Result
from schemas.contract.messages import Signed
from schemas.contract.org_config import OrgConfig

if TYPE_CHECKING:
    from broker.conformance.order_signer import SeedSigner  # it needs PyNaCl, which is an extra

REPLY_SECONDS = 30.0
MINUTE = 60_000
PING = "ping"
INVALID = (b"not json", b"\xff\xfe", b'{"v": 1}', b'{"v": NaN}', b"[]")


_OF_AN_ORDER_THAT_RAN = (df.ONCE, df.KNOWN_ORDER, df.JOURNAL_LOST)


class AgentOrders:
    """Gives orders and judges their results."""

    ALL = (
        *(df.RUNNING, df.OUTCOME, df.REPEATED, df.RESULT_ACKED, df.ONCE, df.SIGNATURE, df.TARGET, df.EXPIRED),
        *(df.FUTURE, df.NOT_ALLOWED, df.ARGUMENTS, df.UNKNOWN_FIELDS, df.INVALID_MESSAGES),
        *(df.KEY_ADDED, df.KEY_UNTRUSTED, df.KEY_REVOKED, df.KNOWN_ORDER, df.JOURNAL_LOST),
    )

    def __init__(
        self,
        traffic: AgentTraffic,
        report: ConformanceReport,
        clock: Clock,
        *,
        org: str,
        machine: str,
        patience_seconds: float,
        quiet_seconds: float,
    ) -> None:
        self._traffic = traffic
        self._report = report
        self._clock = clock
        self._org, self._machine = org, machine
        self._patience, self._quiet = patience_seconds, quiet_seconds
        self._action: str | None = None
        self._finished: tuple[Signed, Result] | None = None

    def run(self, signer: "SeedSigner", *, acknowledges: bool) -> None:
        """Give an allowed order, repeat it, give orders that must be rejected, and send invalid messages."""
        self._action = self._choose_action()
        if self._action is not None:
            self._run_allowed(signer, acknowledges=acknowledges)
        else:
            reason = "Info names no action that can be run without arguments"
            self._report.skip(reason, df.RUNNING, df.OUTCOME, df.REPEATED, df.RESULT_ACKED, *_OF_AN_ORDER_THAT_RAN)
        self._reject(signer)
        self._send_unknown_and_invalid(signer)

    def change_keys(self, signer: "SeedSigner", config: OrgConfig) -> None:
        """Add a key, try to add one without authority, and revoke the first again."""
        if self._action is None:
            self.skip_keys("Info names no action that can be run without arguments")
            return
        now, added, untrusted = self._clock.now(), signer.new(), signer.new()
        adding = signer.change("add", added, self._org, now)
        forged = untrusted.change("add", untrusted, self._org, now)
        self._publish(config, adding, forged)
        order = self._order(self._action, {})
        self._send(added.sign(order))
        self._traffic.wait_for(lambda: bool(self._traffic.of_order(order.id)), REPLY_SECONDS)
        first = next(iter(self._traffic.of_order(order.id)), None)
        self._report.check(df.KEY_ADDED, first is not None and first.state != "rejected", _told(first))
        self._expect(df.KEY_UNTRUSTED, "signature", self._order(self._action, {}), untrusted)
        revoking = signer.change("revoke", added, self._org, now)
        self._publish(config, adding, forged, revoking)
        self._expect(df.KEY_REVOKED, "signature", self._order(self._action, {}), added)
        self._publish(config)

    def skip_keys(self, reason: str) -> None:
        """Skip the assertions on keys."""
        self._report.skip(reason, df.KEY_ADDED, df.KEY_UNTRUSTED, df.KEY_REVOKED)

    def repeat_after_restart(self) -> None:
        """Repeat the order that was run before the program was started again."""
        if self._finished is not None:
            self._repeat(df.KNOWN_ORDER, *self._finished)

    def repeat_without_journal(self) -> None:
        """Repeat that order when the journal that had it is lost."""
        if self._finished is not None:
            signed, before = self._finished
            known = len(self._traffic.results)
            self._traffic.expect_answer(before.id)
            self._send(signed, attempt=3)
            answers = self._traffic.results
            self._traffic.wait_for(lambda: any(each.id == before.id for each in answers[known:]), REPLY_SECONDS)
            first = next((each for each in answers[known:] if each.id == before.id), None)
            holds = first is not None and (first.state, first.reason) == ("rejected", "journal")
            self._report.check(df.JOURNAL_LOST, holds, _told(first))

    def _run_allowed(self, signer: "SeedSigner", *, acknowledges: bool) -> None:
        traffic, report, action = self._traffic, self._report, self._action or PING
        traffic.acknowledges_results = False
        order = self._order(action, {})
        signed = signer.sign(order)
        result = self._outcome(order, signed)
        first = traffic.of_order(order.id)[:1]
        report.check(df.OUTCOME, result is not None and result.state in ("succeeded", "failed"), _told(result))
        if result is None:
            return
        report.check(df.RUNNING, first[0].state == "running", f"the first Result is {first[0].state}")
        if acknowledges:
            repeated = traffic.wait_for(lambda: self._finals(order.id) > 1, self._patience)
            report.check(df.REPEATED, repeated, f"it was not repeated within {self._patience:g} s")
            traffic.acknowledge_result(order.id)
            traffic.listen(self._quiet)
            report.check(df.RESULT_ACKED, holds=True, detail="")
            traffic.acknowledges_results = True
        else:
            report.skip("an ingestor is connected, which acknowledges everything", df.REPEATED, df.RESULT_ACKED)
        self._repeat(df.ONCE, signed, result)
        self._finished = (signed, result)

    def _repeat(self, assertion: Assertion, signed: Signed, before: Result) -> None:
        """Send an order again, and compare the answer with the result that it had."""
        traffic, known = self._traffic, len(self._traffic.results)
        traffic.expect_answer(before.id)
        self._send(signed, attempt=2)
        traffic.wait_for(lambda: any(each.id == before.id for each in traffic.results[known:]), REPLY_SECONDS)
        answers = [each for each in traffic.results[known:] if each.id == before.id]
        same = [
            each for each in answers if (each.state, each.at, each.reason) == (before.state, before.at, before.reason)
        ]
        told = ", ".join(f"{each.state} at {each.at}" for each in answers) or "nothing"
        holds = bool(same) and len(same) == len(answers)
        self._report.check(assertion, holds, f"it answered {told} instead of {before.state} at {before.at}")

    def _reject(self, signer: "SeedSigner") -> None:
        now, action = self._clock.now(), self._action or PING
        genuine = self._order(action, {})
        signed = signer.sign(genuine)
        self._judge(df.SIGNATURE, "signature", genuine, signed.model_copy(update={"signature": "0" * 128}))
        self._expect(
            df.TARGET, "target", self._order(action, {}, machine=f"not-{self._machine}"[:63].strip("-")), signer
        )
        past = {"issued_at": now - 20 * MINUTE, "expires_at": now - 10 * MINUTE}
        self._expect(df.EXPIRED, "expired", self._order(action, {}, **past), signer)
        future = {"issued_at": now + 60 * MINUTE, "expires_at": now + 120 * MINUTE}
        self._expect(df.FUTURE, "future", self._order(action, {}, **future), signer)
        self._expect(df.NOT_ALLOWED, "not-allowed", self._order("no_action_of_this_name", {}), signer)
        if self._action is None:
            self._report.skip("Info names no action", df.ARGUMENTS)
        else:
            self._expect(df.ARGUMENTS, "arguments", self._order(action, {"no_argument_of_this_name": 1}), signer)

    def _send_unknown_and_invalid(self, signer: "SeedSigner") -> None:
        traffic = self._traffic
        order = self._order(self._action or "no_action_of_this_name", {})
        command = json.loads(CommandMessage(order=signer.sign(order)).encode())
        command |= {"unknown_field": {"of": [1, None]}}
        traffic.send(topics.COMMAND, json.dumps(command).encode())
        answered = traffic.wait_for(lambda: bool(traffic.of_order(order.id)), REPLY_SECONDS)
        self._report.check(df.UNKNOWN_FIELDS, answered, "a Command with an unknown field was not answered")
        for payload in INVALID:
            for topic in (topics.COMMAND, topics.ACK, topics.CONFIG, topics.ORG_CONFIG):
                traffic.send(topic, payload, retain=False)
        interval, before = traffic.statuses[-1].interval_seconds, traffic.live
        goes_on = traffic.wait_for(lambda: traffic.live >= before + 2, 3 * interval + REPLY_SECONDS)
        self._report.check(df.INVALID_MESSAGES, goes_on, "no further samples arrived")

    def _publish(self, config: OrgConfig, *changes: Signed) -> None:
        content = config.model_copy(update={"key_changes": (*config.key_changes, *changes)})
        self._traffic.send(topics.ORG_CONFIG, content.encode())
        self._traffic.listen(2.0)

    def _expect(self, assertion: Assertion, reason: str, order: Order, signer: "SeedSigner") -> None:
        self._judge(assertion, reason, order, signer.sign(order))

    def _judge(self, assertion: Assertion, reason: str, order: Order, signed: Signed) -> None:
        result = self._outcome(order, signed)
        holds = result is not None and (result.state, result.reason) == ("rejected", reason)
        self._report.check(assertion, holds, _told(result))

    def _outcome(self, order: Order, signed: Signed) -> Result | None:
        """Send an order; return its final result, or None."""
        self._send(signed)
        self._traffic.wait_for(lambda: self._finals(order.id) > 0, REPLY_SECONDS)
        return next((each for each in self._traffic.of_order(order.id) if each.state != "running"), None)

    def _finals(self, id_: str) -> int:
        return sum(result.state != "running" for result in self._traffic.of_order(id_))

    def _send(self, signed: Signed, *, attempt: int = 1) -> None:
        self._traffic.send(topics.COMMAND, CommandMessage(order=signed, attempt=attempt).encode())

    def _order(self, action: str, arguments: Mapping[str, Any], **changed: Any) -> Order:  # noqa: ANN401 - fields
        now = self._clock.now()
        fields = {
            "id": secrets.token_hex(16),
            "org": self._org,
            "machine": self._machine,
            "action": action,
            "arguments": dict(arguments),
            "issued_at": now,
            "expires_at": now + 10 * MINUTE,
        }
        return Order.model_validate({**fields, **changed})

    def _choose_action(self) -> str | None:
        """Return an action that the machine allows and that needs no arguments."""
        offered = self._traffic.infos[-1].actions if self._traffic.infos else ()
        free = [each.name for each in offered if not each.arguments_schema.get("required")]
        return PING if PING in free else next((name for name in free if name not in ("restart", "reboot")), None)


def _told(result: Result | None) -> str:
    return "it was not answered" if result is None else f"it answered {result.state} {result.reason}: {result.detail}"
