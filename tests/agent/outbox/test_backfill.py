from clocks import Clock

from agent.outbox.backfill import FIRST_SECONDS, LEAST_SAMPLES, BackfillPacing
from schemas.contract.ack import Ack, Range
from schemas.contract.messages import BACKFILL_MAX_SAMPLES

STREAM, OTHER = "00000000000000aa", "00000000000000bb"


def ack(stream: str, first: int, last: int) -> Ack:
    return Ack(stream=stream, ranges=(Range(first=first, last=last),))


def test_the_next_batch_waits_for_the_answer_to_the_last(clock: Clock) -> None:
    resend = BackfillPacing(clock)
    assert resend.may_send()
    resend.sent(STREAM, 500)
    assert not resend.may_send()
    resend.acked(ack(STREAM, 1, 499))
    resend.acked(ack(OTHER, 1, 500))
    assert not resend.may_send()
    resend.acked(ack(STREAM, 1, 500))
    assert resend.may_send()


def test_while_nobody_answers_the_pause_doubles(clock: Clock) -> None:
    resend = BackfillPacing(clock)
    for pause in (10, 20, 40, 80, 160, 300, 300):
        assert resend.may_send()
        resend.sent(STREAM, 1)
        clock.advance(pause - 0.01)
        assert not resend.may_send()
        clock.advance(0.01)


def test_any_answer_has_a_lost_batch_sent_again_soon(clock: Clock) -> None:
    resend = BackfillPacing(clock)
    for _ in range(6):
        resend.sent(STREAM, 9)
        clock.advance(400)
        assert resend.may_send()
    resend.sent(STREAM, 9)
    resend.acked(ack(STREAM, 12, 12))
    clock.advance(FIRST_SECONDS)
    assert resend.may_send()


def test_a_link_that_breaks_under_a_batch_gets_smaller_ones_until_one_arrives(clock: Clock) -> None:
    resend = BackfillPacing(clock)
    for _ in range(10):
        resend.sent(STREAM, 9)
        resend.connection_lost()
    assert resend.limit == LEAST_SAMPLES
    for _ in range(10):
        resend.sent(STREAM, 9)
        resend.acked(ack(STREAM, 1, 9))
    assert resend.limit == BACKFILL_MAX_SAMPLES


def test_a_connection_lost_with_nothing_on_its_way_says_nothing_about_the_link(clock: Clock) -> None:
    resend = BackfillPacing(clock)
    resend.connection_lost()
    assert resend.limit == BACKFILL_MAX_SAMPLES
    assert resend.due_at == float("inf")
