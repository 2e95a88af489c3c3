from clocks import Clock

from ingestor.domain.machine import Machine, Stream
from ingestor.outbound.acks import Acks
from schemas.contract.ack import Ack, Range
from schemas.fleet.ranges import Ranges

ATTIC, CELLAR = Machine(1, "home", "attic"), Machine(2, "home", "cellar")


def stream(*stored: tuple[int, int]) -> Stream:
    """The stream of both machines."""
    found = Stream("00000000000000aa", 1, created_at=0, stored=Ranges(stored))
    ATTIC.streams[found.name] = CELLAR.streams[found.name] = found
    return found


def test_the_first_number_is_acknowledged_at_once_and_the_next_after_the_pause(clock: Clock) -> None:
    acks, heard = Acks(every_seconds=2.0, clock=clock), stream((1, 3))
    acks.add(ATTIC, heard, [1], awaited=False)
    assert len(acks.due()) == 1
    acks.add(ATTIC, heard, [2], awaited=False)
    acks.add(ATTIC, heard, [3], awaited=False)
    assert acks.due() == []
    clock.advance(2)
    assert [Ack.decode(payload).ranges for _, payload in acks.due()] == [(Range(first=1, last=3),)]
    assert acks.due() == []


def test_a_machine_that_waits_for_its_answer_gets_it_at_once(clock: Clock) -> None:
    acks, heard = Acks(every_seconds=2.0, clock=clock), stream((1, 9))
    acks.add(ATTIC, heard, [1], awaited=False)
    acks.due()
    acks.add(ATTIC, heard, range(2, 10), awaited=True)
    assert [machine for machine, _ in acks.due()] == [ATTIC]


def test_one_machine_does_not_hold_up_another(clock: Clock) -> None:
    acks, heard = Acks(every_seconds=2.0, clock=clock), stream((1, 9))
    acks.add(ATTIC, heard, [1], awaited=False)
    acks.due()
    acks.add(CELLAR, heard, [1], awaited=False)
    assert [machine for machine, _ in acks.due()] == [CELLAR]


def test_an_acknowledgement_says_again_what_an_earlier_one_that_was_lost_had_said(clock: Clock) -> None:
    acks = Acks(every_seconds=2.0, clock=clock)
    acks.add(ATTIC, stream((1, 5), (8, 10)), [10], awaited=False)
    assert Ack.decode(acks.due()[0][1]).ranges == (Range(first=8, last=10),)


def test_what_was_forgotten_is_not_acknowledged(clock: Clock) -> None:
    acks = Acks(every_seconds=2.0, clock=clock)
    acks.add(ATTIC, stream((1, 5)), [5], awaited=True)
    acks.clear()
    assert acks.due() == []


def test_what_a_refused_batch_took_back_is_not_acknowledged_by_a_pending_acknowledgement(clock: Clock) -> None:
    acks = Acks(every_seconds=2.0, clock=clock)
    acks.add(ATTIC, stream((1, 5)), [3], awaited=True)
    restored = Machine(1, "home", "attic", streams={"00000000000000aa": Stream("00000000000000aa", 1, 0)})
    restored.streams["00000000000000aa"].stored = Ranges([(1, 4)])
    ATTIC.restore(restored)
    assert [Ack.decode(payload).ranges for _, payload in acks.due()] == [(Range(first=1, last=4),)]
