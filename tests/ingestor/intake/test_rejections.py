"""What the ingestor does with invalid messages: dead letter, answer, ledger, log line, and the valid rest is stored."""

import json
import logging
from dataclasses import replace

import pytest
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.access.credentials import hash_secret
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.ack import Ack, Range, Rejection
from schemas.contract.commands import Update
from schemas.contract.enrolment import EnrolAnswer
from schemas.database import tables
from schemas.database.queries.dead_letters import list_dead_letters
from schemas.database.queries.machines import list_machines

ATTIC = {"org": "home", "machine": "attic"}


def changed(message: Message, **fields: object) -> Message:
    return Message(message.topic, json.dumps({**json.loads(message.payload), **fields}).encode(), message.qos)


def bad_backfill(speaker: Speaker, *numbers: int, bad: int) -> Message:
    message = speaker.backfill(*numbers)
    vitals = json.loads(message.payload)["vitals"]
    vitals["cpu_percent"][numbers.index(bad)] = 100.4
    return changed(message, vitals=vitals)


def acks(bench: Bench) -> list[Ack]:
    events = bench.client.receive(100, 0)
    return [Ack.decode(each.payload) for each in events if isinstance(each, Message) and each.topic.endswith("/ack")]


def rejections(bench: Bench) -> list[Rejection]:
    return [rejection for ack in acks(bench) for rejection in ack.rejected]


def ledger(fleet: Engine) -> dict[str, int]:
    row = next(row for row in list_machines(fleet) if row["org"] == "home")
    found: dict[str, int] = row["ledger"]
    return found


def test_of_a_backfill_with_one_bad_sample_the_others_are_stored_and_the_bad_number_is_answered(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(bad_backfill(speaker, *range(1, 11), bad=4))
    bench.step()
    with fleet.connect() as connection:
        stored = sorted(connection.scalars(select(tables.sample.c.seq)))
    assert stored == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    told = acks(bench)
    assert [each for ack in told for each in ack.ranges] == [Range(first=1, last=3), Range(first=5, last=10)]
    (rejection,) = [each for ack in told for each in ack.rejected]
    assert (rejection.stream, rejection.ranges) == (speaker.stream, (Range(first=4, last=4),))
    assert rejection.reason == "invalid"
    assert "cpu_percent" in rejection.detail
    (letter,) = list_dead_letters(fleet, limit=10)
    assert (letter["org"], letter["machine"], letter["reason"]) == ("home", "attic", "invalid")


def test_a_rejected_backfill_that_waited_takes_back_no_will_of_its_connection(
    bench: Bench, speaker: Speaker, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.domain.machine.STREAMS_MAX", 1)
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    bench.publish(replace(speaker, stream="00000000000000bb").backfill(2, 3), speaker.status("lost"))
    bench.step(0.1, steps=40)
    machine = next(row for row in list_machines(fleet) if row["org"] == "home")
    assert (machine["presence"], machine["reason"]) == ("offline", "lost")


def test_a_rejected_sample_is_a_column_of_its_own_in_the_ledger(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(bad_backfill(speaker, 1, 2, 3, bad=2))
    bench.step()
    bench.publish(speaker.telemetry(4))
    bench.step()
    found = ledger(fleet)
    assert (found["expected"], found["stored"], found["rejected"], found["lost"]) == (4, 3, 1, 0)


def test_a_rejected_number_sent_again_is_counted_once_and_a_corrected_one_is_stored(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(bad_backfill(speaker, 1, 2, 3, bad=2), bad_backfill(speaker, 1, 2, 3, bad=2))
    bench.step()
    assert ledger(fleet)["rejected"] == 1
    bench.publish(speaker.backfill(2))
    bench.step()
    found = ledger(fleet)
    assert (found["stored"], found["rejected"], found["lost"]) == (3, 0, 0)


def test_the_ledger_of_rejected_samples_survives_a_restart(bench: Bench, make_bench, speaker: Speaker, fleet) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    bench.publish(bad_backfill(speaker, 1, 2, 3, bad=2))
    bench.step()
    bench.ingestor.stop()
    again = make_bench()
    again.publish(speaker.telemetry(4, oldest_seq=4))
    again.step()
    assert (ledger(fleet)["rejected"], ledger(fleet)["lost"]) == (1, 0)


def test_an_invalid_live_sample_is_answered_with_its_number_and_the_machine_counts_as_heard(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(changed(speaker.telemetry(7), vitals={"cpu_percent": 100.4}))
    bench.step(3.0)
    (rejection,) = rejections(bench)
    assert rejection.ranges == (Range(first=7, last=7),)
    assert next(row for row in list_machines(fleet) if row["org"] == "home")["presence"] == "online"


@pytest.mark.parametrize("topic", [topics.STATUS, topics.INFO, topics.TELEMETRY, topics.BACKFILL, topics.RESULT])
def test_every_invalid_message_of_a_machine_is_answered_and_logged(
    bench: Bench, topic: topics.Topic, caplog: pytest.LogCaptureFixture
) -> None:
    name = topic.at(**ATTIC)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            bench.publish(Message(name, b'{"v": 1}'))
            bench.step(3.0)
    told = rejections(bench)
    assert {(each.topic, each.reason, each.ranges) for each in told} == {(name, "invalid", ())}
    lines = [record.getMessage() for record in caplog.records if "rejected a message" in record.getMessage()]
    assert len(lines) == 1, "one line a minute"
    assert name in lines[0]
    assert "invalid" in lines[0]


def test_a_message_above_the_bound_of_streams_is_answered_with_its_numbers_and_sent_no_more(
    bench: Bench, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.domain.machine.STREAMS_MAX", 1)
    bench.publish(speaker.telemetry(1))
    bench.step()
    other = replace(speaker, stream="00000000000000bb")
    bench.publish(other.telemetry(7), other.backfill(8, 9))
    bench.step(3.0)
    told = rejections(bench)
    assert {(each.reason, each.stream, each.ranges) for each in told} == {
        ("too-many-streams", other.stream, (Range(first=7, last=7),)),
        ("too-many-streams", other.stream, (Range(first=8, last=9),)),
    }


def test_a_message_above_the_bound_of_gaps_is_answered_with_its_numbers(
    bench: Bench, speaker: Speaker, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.intake.message_handlers.RANGES_MAX", 2)
    for seq in (1, 3, 5, 7, 9, 11):
        bench.publish(speaker.telemetry(seq))
        bench.step(3.0)
    told = [each for each in rejections(bench) if each.reason == "too-many-gaps"]
    assert [each.ranges for each in told] == [(Range(first=seq, last=seq),) for seq in (5, 7, 9, 11)]
    assert ledger(fleet)["rejected"] == 2, "the ledger of rejected samples is bounded, too"


def test_a_message_that_is_too_large_is_answered_with_its_numbers(bench: Bench, speaker: Speaker) -> None:
    bench.publish(changed(speaker.backfill(4, 5), padding="x" * (256 << 10)))
    bench.step(3.0)
    (rejection,) = rejections(bench)
    assert (rejection.reason, rejection.stream) == ("too-large", speaker.stream)
    assert rejection.ranges == (Range(first=4, last=5),)


def test_a_fault_of_the_ingestor_names_no_numbers_so_that_nothing_is_deleted_for_it(
    bench: Bench, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("ingestor.intake.message_handlers._store", fail)
    bench.publish(speaker.telemetry(1))
    bench.step(3.0)
    (rejection,) = rejections(bench)
    assert (rejection.reason, rejection.ranges) == ("error", ())


def test_an_invalid_copy_of_a_stored_sample_is_acknowledged(bench: Bench, speaker: Speaker) -> None:
    bench.publish(speaker.telemetry(1))
    bench.step(3.0)
    acks(bench)
    bench.publish(changed(speaker.telemetry(1), vitals={"cpu_percent": 100.4}))
    bench.step(3.0)
    told = acks(bench)
    assert [each for ack in told for each in ack.ranges] == [Range(first=1, last=1)]
    assert [each.ranges for ack in told for each in ack.rejected] == [()]


def test_columns_of_different_length_reject_every_sample_of_the_backfill(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(changed(speaker.backfill(1, 2, 3), vitals={"cpu_percent": [1.0, 2.0]}))
    bench.step()
    (rejection,) = rejections(bench)
    assert rejection.ranges == (Range(first=1, last=3),)
    assert ledger(fleet)["rejected"] == 3


@pytest.mark.parametrize(("version", "said"), [(2, "version 2"), ("<b>", "another"), (9**30, "another")])
def test_an_agent_of_another_version_of_the_contract_is_told_what_to_update(
    version: object, said: str, bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    bench.publish(changed(speaker.telemetry(1), v=version))
    bench.step()
    (letter,) = list_dead_letters(fleet, limit=9)
    assert letter["reason"] == "wrong-version"
    sentence = f"this server reads version 1 of the contract, not {said}: update the older of the two"
    assert letter["detail"] == sentence
    assert [rejection.detail for rejection in rejections(bench)] == [sentence]


def test_a_retained_bad_message_is_not_answered(bench: Bench) -> None:
    bench.publish(Message(topics.INFO.at(**ATTIC), b"{", 1, retain=True))
    bench.step()
    rejections(bench)
    bench.ingestor.stop()


def test_dead_letters_of_one_organisation_displace_no_other(bench: Bench, fleet: Engine) -> None:
    bench.publish(Message(topics.TELEMETRY.at(org="office", machine="attic"), b"evidence"))
    bench.step()
    for _ in range(6):
        bench.publish(*(Message(topics.TELEMETRY.at(**ATTIC), b"x") for _ in range(50)))
        bench.step()
    assert len(list_dead_letters(fleet, org_name="office", limit=10)) == 1
    assert 100 <= len(list_dead_letters(fleet, org_name="home", limit=1000)) <= 200


def test_a_sample_of_the_far_future_is_rejected(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    bench.publish(speaker.telemetry(1))
    bench.step()
    later = speaker.backfill(2, 3)
    now = bench.clock.now()
    bench.publish(changed(later, sampled_at=[now, now + 86_400_001]))
    bench.step()
    assert (ledger(fleet)["stored"], ledger(fleet)["rejected"]) == (2, 1)


UUID = "550E8400-e29b-41d4-a716-446655440000"


@pytest.mark.parametrize(
    ("fields", "id_", "named"),
    [
        ({"v": 1, "id": "0" * 32, "change": {"kind": "act"}}, "0" * 32, "change"),
        ({"v": 1, "id": "0" * 32, "change": {"kind": "unknown"}}, "0" * 32, "change"),
        ({"v": 1, "id": "0" * 32}, "0" * 32, "change"),
        (
            {"v": 2, "id": "0" * 32, "change": {"kind": "cancel", "commands": ["0" * 32]}},
            "0" * 32,
            "this server reads version 1",
        ),
        ({"id": UUID, "change": {"kind": "cancel", "commands": ["0" * 32]}}, UUID.replace("-", "").lower(), "id:"),
    ],
)
def test_an_invalid_request_is_answered_when_its_id_can_be_read(
    bench: Bench, fields: dict[str, object], id_: str, named: str
) -> None:
    bench.client.subscribe([(topics.UPDATE.filter(), 1)])
    bench.client.receive(100, 0)
    bench.publish(Message(topics.REQUEST.at(org="home", principal="ops"), json.dumps(fields).encode()))
    bench.step(steps=2)
    (answer,) = [Update.decode(each.payload) for each in bench.client.receive(100, 0) if isinstance(each, Message)]
    assert (answer.request, answer.state, answer.reason) == (id_, "refused", "invalid")
    assert named in answer.detail


@pytest.mark.parametrize(
    ("fields", "nonce", "named"),
    [
        ({"machine": "Bad_Name"}, "0" * 32, "machine"),
        ({"hostname": None}, "0" * 32, "hostname"),
        ({"secret_hash": "plain"}, "0" * 32, "secret_hash"),
        ({"v": 2}, "0" * 32, "this server reads version 1"),
        ({"nonce": UUID}, UUID.replace("-", "").lower(), "nonce"),
    ],
)
def test_an_invalid_enrolment_is_answered_when_its_nonce_can_be_read(
    bench: Bench, fleet: Engine, fields: dict[str, object], nonce: str, named: str
) -> None:
    answers = enrol(bench, {**ENROL, **fields})
    assert [(each.nonce, each.machine, each.refused) for each in answers] == [(nonce, None, "invalid")]
    assert named in answers[0].detail
    assert len(list_dead_letters(fleet, org_name="home", limit=10)) == 1


@pytest.mark.parametrize("nonce", [None, 7, "", "x" * 32, ["0" * 32], "0" * 31])
def test_an_enrolment_without_a_nonce_has_no_answer_but_a_dead_letter(
    bench: Bench, fleet: Engine, nonce: object
) -> None:
    assert enrol(bench, {**ENROL, "nonce": nonce}) == []
    assert len(list_dead_letters(fleet, org_name="home", limit=10)) == 1


ENROL = {"v": 1, "nonce": "0" * 32, "machine": "attic", "hostname": "attic", "secret_hash": hash_secret("x")}


def enrol(bench: Bench, request: dict[str, object]) -> list[EnrolAnswer]:
    bench.client.subscribe([(topics.ENROL_ANSWER.filter(), 1)])
    bench.client.receive(100, 0)
    bench.publish(Message(topics.ENROL_REQUEST.at(org="home", principal="_token-1"), json.dumps(request).encode()))
    bench.step(steps=2)
    events = bench.client.receive(100, 0)
    return [EnrolAnswer.decode(each.payload) for each in events if isinstance(each, Message)]
