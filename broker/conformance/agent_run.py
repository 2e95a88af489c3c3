"""A run that checks an agent: it listens, answers as an ingestor, gives orders, and ends and starts the program.

The agent needs samples every few seconds, one action without required arguments (such as `ping`), and the key of the
run among its keys. What cannot be checked, for example without a command that starts the program, is skipped.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from broker.client.transport import Message, Transport
from broker.conformance import assertions as df
from broker.conformance.agent_orders import REPLY_SECONDS, AgentOrders
from broker.conformance.agent_traffic import GRACE_SECONDS, PUMP_SECONDS, AgentTraffic
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.messages import Status
from schemas.contract.org_config import OrgConfig

if TYPE_CHECKING:
    from broker.conformance.order_signer import SeedSigner

SAMPLES = 4

_ACKNOWLEDGED = (df.OLDEST, df.RESENT, df.SAME_CONTENT, df.ONE_BATCH, df.ACKED, df.REJECTED)


class ProgramControl(Protocol):
    """Starts and ends the program that is checked."""

    def start(self) -> None:
        """Start it."""
        ...

    def kill(self) -> None:
        """End it without a chance to say goodbye; its connection breaks."""
        ...

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        ...


class AgentRun:
    """A run against the agent of one machine.

    `signer`: signs orders, None if no key is known. `control`: None if the program was started by somebody else.
    `lose_journal`: deletes the journal of the program, while it does not run, and returns whether there was one.
    `plays_ingestor`: False while an ingestor is connected, which acknowledges everything. `patience_seconds`: the
    longest time to wait for something that an agent does by and by. `quiet_seconds`: how long to listen for what it
    must not send again.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        org: str,
        machine: str,
        config: OrgConfig,
        signer: "SeedSigner | None",
        control: ProgramControl | None,
        lose_journal: Callable[[], bool],
        plays_ingestor: bool,
        patience_seconds: float,
        quiet_seconds: float,
    ) -> None:
        self.report = ConformanceReport("agent", f"{org}.{machine}")
        self.traffic = AgentTraffic(
            transport, clock, self.report, org=org, machine=machine, plays_ingestor=plays_ingestor
        )
        self._transport = transport
        self._clock = clock
        self._config = config
        self._signer = signer
        self._control = control
        self._lose_journal = lose_journal
        self._plays_ingestor = plays_ingestor
        self._patience, self._quiet = patience_seconds, quiet_seconds
        self._orders = AgentOrders(
            self.traffic,
            self.report,
            clock,
            org=org,
            machine=machine,
            patience_seconds=patience_seconds,
            quiet_seconds=quiet_seconds,
        )

    def run(self) -> ConformanceReport:
        """Check everything that can be checked; return the verdicts."""
        self._transport.subscribe(self.traffic.subscriptions())
        if self._control is not None:
            self.traffic.listen(1.0)
            self.traffic.forget_connection()
            self._control.start()
        if self._connect() and self._hear_samples():
            self._withhold_acknowledgements()
            self._mark_offline()
            self._give_orders()
            self._restart()
        self.traffic.judge_qos()
        self.traffic.judge_early()
        return self.report

    def clear_retained(self) -> None:
        """Clear what the agent has retained, when its connection has ended and its will has come."""
        self.traffic.listen(GRACE_SECONDS)
        self._transport.reread(self.traffic.subscriptions())
        deadline = self._clock.monotonic() + GRACE_SECONDS
        while self._clock.monotonic() < deadline:
            for event in self._transport.receive(100, PUMP_SECONDS):
                if isinstance(event, Message) and event.retain and event.payload:
                    self._transport.publish(Message(event.topic, b"", 1, retain=True))

    def _connect(self) -> bool:
        """Wait for the birth and Info, and read what is retained."""
        traffic, report = self.traffic, self.report
        born = traffic.wait_for(lambda: any(each.state == "online" for each in traffic.statuses), self._patience)
        report.check(df.BIRTH, born, f"no Status `online` within {self._patience:g} s")
        if not born:
            return False
        informed = traffic.wait_for(lambda: bool(traffic.infos), REPLY_SECONDS)
        report.check(df.INFO, informed, f"no Info within {REPLY_SECONDS:g} s of the birth")
        traffic.read_retained()
        wanted = {topics.STATUS, topics.INFO} if informed else {topics.STATUS}
        traffic.wait_for(lambda: wanted <= traffic.retained, REPLY_SECONDS)
        report.check(df.STATUS_RETAINED, topics.STATUS in traffic.retained, "no retained message")
        if informed:
            report.check(df.INFO_RETAINED, topics.INFO in traffic.retained, "no retained message")
        return True

    def _hear_samples(self) -> bool:
        """Hear some samples, acknowledging each."""
        traffic = self.traffic
        interval = traffic.statuses[-1].interval_seconds
        heard = traffic.wait_for(lambda: traffic.live >= SAMPLES, (SAMPLES + 1) * interval + self._patience)
        self.report.check(df.NUMBERS, heard, f"only {traffic.live} samples arrived")
        return heard

    def _withhold_acknowledgements(self) -> None:
        """Answer no sample until it is sent again, reject one, and then acknowledge everything."""
        traffic, report = self.traffic, self.report
        if not self._plays_ingestor:
            report.skip("an ingestor is connected, which acknowledges everything: stop it first", *_ACKNOWLEDGED)
            return
        traffic.acknowledges_samples = False
        before, interval = traffic.live, traffic.statuses[-1].interval_seconds
        traffic.wait_for(lambda: traffic.live >= before + 2, 3 * interval + REPLY_SECONDS)
        if traffic.samples.last_live is None:
            return
        stream, rejected = traffic.samples.last_live
        traffic.reject(stream, rejected)
        waiting = set(traffic.samples.waiting(stream))
        resent = traffic.wait_for(
            lambda: any(each.stream == stream and waiting & set(each.seq) for each in traffic.backfills), self._patience
        )
        report.check(df.RESENT, resent, f"no Backfill with an unacknowledged sample within {self._patience:g} s")
        traffic.listen(2 * interval + 1)
        report.check(df.ONE_BATCH, holds=True, detail="")
        traffic.acknowledges_samples = True
        traffic.samples.batch = []
        traffic.acknowledge_waiting()
        traffic.listen(self._quiet)
        for assertion in (df.SAME_CONTENT, df.ACKED, df.REJECTED):
            report.check(assertion, holds=True, detail="")

    def _mark_offline(self) -> None:
        """Replace the retained Status, as a will that arrives late does."""
        traffic, known = self.traffic, len(self.traffic.statuses)
        last = traffic.statuses[-1].model_copy(
            update={"state": "offline", "reason": "lost", "session": traffic.session}
        )
        traffic.send(topics.STATUS, Status.model_validate(last.model_dump()).encode())
        again = traffic.wait_for(
            lambda: any(each.state == "online" for each in traffic.statuses[known:]), REPLY_SECONDS
        )
        self.report.check(df.BIRTH_AGAIN, again, f"no Status `online` within {REPLY_SECONDS:g} s")

    def _give_orders(self) -> None:
        orders, config = self._orders, self._config
        if self._signer is None:
            self.report.skip("no signing key of the organisation is known: name one with --key", *orders.ALL)
            return
        orders.run(self._signer, acknowledges=self._plays_ingestor)
        if self._plays_ingestor:
            orders.change_keys(self._signer, config)
        else:
            orders.skip_keys("an ingestor is connected, which publishes OrgConfig: stop it first")

    def _restart(self) -> None:
        """End the program twice, once without warning, and start it again in between."""
        control, traffic, report = self._control, self.traffic, self.report
        if control is None:
            reason = "the run cannot end the program: give the command that starts it"
            report.skip(reason, df.WILL, df.GOODBYE, df.SESSION_RISES, df.KNOWN_ORDER, df.JOURNAL_LOST)
            return
        before = traffic.session
        control.kill()
        self._check_end(df.WILL, before, is_will=True)
        informed = len(traffic.infos)
        if not self._start_again(control):
            return
        detail = f"session {traffic.session} after session {before}"
        report.check(df.SESSION_RISES, traffic.session > before, detail)
        again = traffic.wait_for(lambda: len(traffic.infos) > informed, REPLY_SECONDS)
        report.check(df.INFO, again, "no Info after the second connect")
        self._orders.repeat_after_restart()
        heard, interval = traffic.live, traffic.statuses[-1].interval_seconds
        traffic.wait_for(lambda: traffic.live >= heard + 2, 3 * interval + REPLY_SECONDS)
        control.stop()
        self._check_end(df.GOODBYE, traffic.session, is_will=False)
        self._start_without_journal(control)

    def _start_without_journal(self, control: ProgramControl) -> None:
        """Delete the journal, start the program, and repeat an order that the journal knew."""
        if not self._lose_journal():
            reason = "the run does not know the journal: name its file with --journal, or keep it in DASHFLEET_STATE"
            self.report.skip(reason, df.JOURNAL_LOST)
            return
        self.traffic.forget_connection(with_sessions=True)
        if self._start_again(control):
            self._orders.repeat_without_journal()

    def _start_again(self, control: ProgramControl) -> bool:
        """Start the program; return whether its birth comes."""
        traffic, known = self.traffic, len(self.traffic.statuses)
        control.start()
        born = traffic.wait_for(
            lambda: any(each.state == "online" for each in traffic.statuses[known:]), self._patience
        )
        self.report.check(df.BIRTH, born, f"no Status `online` within {self._patience:g} s of a start")
        return born

    def _check_end(self, assertion: df.Assertion, session: int, *, is_will: bool) -> None:
        traffic = self.traffic
        known = len(traffic.statuses)
        traffic.wait_for(
            lambda: traffic.statuses[-1].state == "offline" or len(traffic.statuses) > known, self._patience
        )
        last = traffic.statuses[-1]
        holds = last.state == "offline" and (last.reason == "lost") == is_will and last.session == session
        detail = f"the last Status is {last.state}, reason {last.reason}, session {last.session} after {session}"
        self.report.check(assertion, holds, detail)
