"""The queue of a simulated machine: every sample is acknowledged, rejected, dropped or waiting."""

from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from agent.simulation import memory_queue
from agent.simulation.memory_queue import MemoryQueue
from schemas.contract.ack import Range
from schemas.contract.messages import Vitals

STEPS = st.lists(
    st.one_of(
        st.just(("append",)),
        st.just(("reboot",)),
        st.tuples(st.sampled_from(["ack", "reject"]), st.integers(0, 2), st.integers(1, 30), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_sample_is_counted_twice_or_forgotten(steps: list[tuple[object, ...]]) -> None:
    queue = MemoryQueue(Clock())
    streams = [queue.stream]
    for step in steps:
        match step:
            case ["append"]:
                queue.append(1, Vitals(), {})
            case ["reboot"]:
                queue.reboot()
                streams.append(queue.stream)
            case [str(kind), int(back), int(first), int(length)]:
                getattr(queue, kind)(streams[-1 - back % len(streams)], [Range(first=first, last=first + length)])
        assert queue.taken == queue.acknowledged + queue.rejected + queue.dropped_total + queue.waiting


def test_the_oldest_sample_makes_room_and_is_counted() -> None:
    queue = MemoryQueue(Clock())
    for _ in range(memory_queue.WAITING_MAX + 3):
        queue.append(1, Vitals(), {})
    assert (queue.dropped, queue.oldest_seq, queue.waiting) == (3, 4, memory_queue.WAITING_MAX)


def test_batches_come_from_the_oldest_stream_first_and_leave_out_what_is_on_its_way() -> None:
    queue = MemoryQueue(Clock())
    for _ in range(3):
        queue.append(1, Vitals(), {})
    first = queue.stream
    queue.reboot()
    queue.append(2, Vitals(), {})
    batch = queue.batch(2, before_seq=1)
    assert batch is not None
    assert (batch.stream, [sample.seq for sample in batch.samples]) == (first, [1, 2])
    assert [each.oldest_seq for each in queue.earlier_streams(10)] == [1]
    queue.ack(first, [Range(first=1, last=3)])
    assert queue.batch(2, before_seq=1) is None
    assert [sample.seq for sample in queue.batch(2, before_seq=2).samples] == [1]  # type: ignore[union-attr]
