"""An order that is unsigned, signed by an unknown key, for another machine or expired never runs."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock

from schemas.contract import topics
from schemas.contract.commands import Order
from schemas.contract.messages import Signed
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import KeyChange, new_key, public_key, sign

MUTATIONS = 1000
NOW_FIELDS = ("issued_at", "expires_at")


@dataclass
class Forger:
    """An attacker who sees every order and has no trusted key."""

    machine: AgentUnderTest
    chance: random.Random

    def genuine(self, **facts: Any) -> Signed:  # noqa: ANN401
        return self.machine.operator.order("append", **{"arguments": {"text": "forged"}, **facts})

    def flipped(self, field: str) -> Callable[[], Signed]:
        """Flip one bit of a field of a genuine order."""

        def flip() -> Signed:
            order = self.genuine().model_dump()
            data = bytearray(order[field].encode())
            while True:
                place = self.chance.randrange(len(data))
                data[place] ^= 1 << self.chance.randrange(7)  # keep it ASCII, and so valid text
                if data.decode() != order[field]:
                    return Signed.model_construct(**{**order, field: data.decode()})

        return flip

    def changed(self, field: str, value: object) -> Callable[[], Signed]:
        """Change a field of the statement and keep the signature."""

        def change() -> Signed:
            order = self.genuine()
            statement = json.loads(order.statement)
            return order.model_copy(update={"statement": json.dumps({**statement, field: value})})

        return change

    def spaced(self) -> Signed:
        """Encode the same statement in another way."""
        order = self.genuine()
        return order.model_copy(update={"statement": json.dumps(json.loads(order.statement), indent=1)})

    def swapped(self) -> Signed:
        """Use the signature of another genuine order."""
        return self.genuine().model_copy(update={"signature": self.genuine().signature})

    def of_a_stranger(self) -> Signed:
        """Sign a whole order with another key, under its own id or a trusted one."""
        stranger = self.machine.operator.seed, new_key()
        order = sign(Order.model_validate_json(self.genuine().statement), stranger[1])
        return order.model_copy(update={"key": self.genuine().key}) if self.chance.random() < 0.5 else order

    def of_another_purpose(self) -> Signed:
        """Send a key change that the operator has signed."""
        change = KeyChange(
            change="add",
            org="home",
            public_key=public_key(new_key()),
            at=self.machine.clock.now(),
            name='"id":"' + "a" * 32,
        )
        return sign(change, self.machine.operator.seed)

    def malleable(self) -> Signed:
        """Encode the second half of the signature differently: S plus the order of the group."""
        order = self.genuine()
        signature = bytes.fromhex(order.signature)
        group = 2**252 + 27742317777372353535851937790883648493
        second = (int.from_bytes(signature[32:], "little") + group).to_bytes(32, "little")
        return order.model_copy(update={"signature": (signature[:32] + second).hex()})

    @property
    def ways(self) -> list[Callable[[], Signed]]:
        later = self.machine.clock.now() + 86_400_000
        return [
            *(self.flipped(field) for field in ("statement", "signature", "key")),
            *(self.flipped("statement"),) * 3,
            self.changed("arguments", {"text": "worse"}),
            self.changed("action", "reboot"),
            self.changed("machine", "cellar"),
            self.changed("expires_at", later),
            self.changed("id", "f" * 32),
            self.changed("kind", "key-change"),
            self.spaced,
            self.swapped,
            self.of_a_stranger,
            self.of_another_purpose,
            self.malleable,
        ]


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[AgentUnderTest]:
    made = AgentUnderTest(tmp_path, clock)
    yield made
    made.kill()


def command(signed: Signed) -> bytes:
    """Return a command, also with a damaged `Signed`."""
    return json.dumps({"v": 1, "order": signed.model_dump(warnings=False), "attempt": 1}).encode()


def test_a_thousand_forgeries_run_nothing_and_each_is_refused(machine: AgentUnderTest) -> None:
    forger = Forger(machine, random.Random(20))  # noqa: S311 - a repeatable one
    ways = forger.ways
    tried: Counter[str] = Counter()
    for number in range(MUTATIONS):
        machine.forget()
        rejected = machine.agent.rejected
        machine.publish(topics.COMMAND, command(ways[number % len(ways)]()))
        machine.step(2)
        states = [(result.state, result.reason) for result in machine.results()]
        counted = machine.executor.counts.total() + machine.agent.rejected - rejected - tried.total()
        assert states in ([("rejected", "signature")], [])  # none when there is no id to answer
        tried["answered" if states else "counted"] += 1 - (machine.agent.rejected - rejected)
        assert counted == 1
    assert machine.executor.counts == {"signature": tried.total()}
    assert tried["answered"] > MUTATIONS * 0.8

    assert machine.lines == []
    assert machine.journal.running() == machine.journal.unacked(10) == []
    assert machine.outcome(forger.genuine()).state == "succeeded"


def test_a_replay_of_every_genuine_order_runs_none_of_them_again(machine: AgentUnderTest) -> None:
    orders = [machine.operator.order("append", arguments={"text": str(number)}) for number in range(20)]
    for order in orders:
        machine.outcome(order)
    lines = machine.lines
    for round_ in range(3):
        for order in orders:
            machine.send(order, attempt=round_ + 2)
        machine.clock.advance(3600)

    assert machine.lines == lines == [str(number) for number in range(20)]
    assert machine.executor.counts["started"] == 20


def test_an_order_for_another_machine_or_organisation_is_refused_here(machine: AgentUnderTest) -> None:
    for target in ({"machine": "cellar"}, {"org": "work"}, {"machine": "attic-2"}, {"org": "home-2"}):
        facts: dict[str, Any] = {"arguments": {"text": "x"}, **target}
        order = machine.operator.order("append", **facts)
        assert machine.outcome(order).reason == "target"
    assert machine.lines == []
    assert machine.journal.unacked(10) == []


def test_an_expired_or_a_revoked_key_is_not_obeyed(machine: AgentUnderTest) -> None:
    now, first = machine.clock.now(), machine.operator.seed
    short, revoked = new_key(), new_key()

    def change(what: str, seed: str, expires_at: int | None = None) -> Signed:
        values = {"change": what, "org": "home", "public_key": public_key(seed), "at": now, "expires_at": expires_at}
        return sign(KeyChange.model_validate(values), first)

    changes = [change("add", short, now + 60_000), change("add", revoked)]
    machine.publish(topics.ORG_CONFIG, OrgConfig(key_changes=tuple(changes)).encode())
    machine.step(2)
    for seed in (short, revoked):
        machine.operator.seed = seed
        assert machine.outcome(machine.operator.order("append", arguments={"text": "good"})).state == "succeeded"
    changes.append(change("revoke", revoked))
    machine.publish(topics.ORG_CONFIG, OrgConfig(key_changes=tuple(changes)).encode())
    machine.step(2)
    machine.clock.advance(60)
    for seed in (short, revoked):
        machine.operator.seed = seed
        result = machine.outcome(machine.operator.order("append", arguments={"text": "bad"}))
        assert (result.state, result.reason) == ("rejected", "signature")

    assert machine.lines == ["good", "good"]


@pytest.mark.parametrize("action", ["ping", "reboot", "dance", "append"])
def test_a_desired_configuration_is_a_configure_and_nothing_else(machine: AgentUnderTest, action: str) -> None:
    machine.desire(1, machine.operator.order(action, arguments={"text": "x"} if action == "append" else {}))

    assert machine.executor.counts == {"not-allowed": 1}
    assert machine.lines == []
    assert machine.results() == []


def test_a_forged_desired_configuration_changes_nothing(machine: AgentUnderTest) -> None:
    order = machine.operator.order("configure", arguments={"interval_seconds": 5})
    for forged in (
        order.model_copy(update={"signature": "0" * 128}),
        order.model_copy(update={"statement": order.statement.replace(":5}", ":6}")}),
        machine.operator.order("configure", "cellar", arguments={"interval_seconds": 5}),
        machine.operator.order("configure", arguments={"interval_seconds": 5, "allowed_actions": ["run"]}),
        machine.operator.order("configure", arguments={"interval_seconds": "5"}),
    ):
        machine.desire(9, forged)

    assert machine.executor.counts == {"signature": 2, "target": 1, "arguments": 2}
    assert machine.executor.configuration.revision == 0
