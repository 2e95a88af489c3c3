"""After any sequence of events: issued = waiting + acked + dropped, and no number is assigned twice."""

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from clocks import Clock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from outboxes import OutboxMachine, fill_disk, free_disk, put

from agent.outbox import outbox as outbox_module
from agent.outbox.outbox import Outbox
from agent.outbox.sample_file import SampleFile
from schemas.contract.ack import Range

Key = tuple[str, int]


class Killed(BaseException):
    """Raised where the process is killed."""


class Lives(RuleBasedStateMachine):
    """An outbox with a small bound on disk (64 KiB) and in memory, under all events."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(outbox_module, "HOT_MAX_BYTES", 80 << 10)
        self.directory = tempfile.TemporaryDirectory()
        self.machine = OutboxMachine(Path(self.directory.name), Clock())
        self.issued: set[Key] = set()
        self.acked: set[Key] = set()
        self.full = False

    @initialize()
    def begin(self) -> None:
        self.outbox = self._open()

    @rule(samples=st.integers(1, 60), size=st.sampled_from([0, 900, 2500]))
    def measure(self, samples: int, size: int) -> None:
        for sample in put(self.outbox, samples, size=size):
            key = (self.outbox.stream, sample.seq)
            assert key not in self.issued
            self.issued.add(key)

    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        streams = sorted({stream for stream, _ in self.issued}) or ["f" * 16]
        stream = data.draw(st.sampled_from(streams))
        first = data.draw(st.integers(1, 200))
        last = first + data.draw(st.integers(0, 100))
        gone = {(stream, seq) for seq in range(first, last + 1)} & self._waiting()
        self.outbox.ack(stream, [Range(first=first, last=last)])
        self.acked |= gone

    @rule()
    def spill(self) -> None:
        self.outbox.spill()

    @rule(back=st.integers(0, 20))
    def spill_what_is_not_fresh(self, back: int) -> None:
        self.outbox.spill(before_seq=max(1, self.outbox.next_seq - back))

    @rule(limit=st.integers(1, 200))
    def send(self, limit: int) -> None:
        batch = self.outbox.batch(limit)
        waiting = self._waiting()
        if batch is None:
            assert not waiting
            return
        of_stream = sorted(seq for stream, seq in waiting if stream == batch.stream)
        sent = [sample.seq for sample in batch.samples]
        assert sent == sorted(set(sent))
        assert set(sent) <= set(of_stream)
        assert batch.oldest_seq == of_stream[0] == sent[0]
        assert len(sent) <= limit

    @precondition(lambda self: not self.full)
    @rule()
    def let_the_disk_run_full(self) -> None:
        self.full = True
        if self.outbox._cold.file is not None:
            fill_disk(self.outbox)

    @precondition(lambda self: self.full)
    @rule()
    def make_room_on_the_disk(self) -> None:
        self.full = False
        if self.outbox._cold.file is not None:
            free_disk(self.outbox)

    @rule()
    def be_killed(self) -> None:
        self.machine.kill()
        self._reopen()

    @rule()
    def be_killed_in_the_middle_of_a_spill(self) -> None:
        def die(*_: object) -> None:
            self.machine.kill()
            raise Killed

        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            patch.setattr(SampleFile, "delete", die)
            self.outbox.spill()
        self._reopen()

    @rule()
    def reboot(self) -> None:
        self.machine.reboot()
        self._reopen()

    @rule()
    def stop_and_start(self) -> None:
        self._reopen()

    @invariant()
    def nothing_is_lost_and_nothing_made_up(self) -> None:
        waiting = self._waiting()
        assert waiting <= self.issued
        assert not waiting & self.acked
        assert len(self.issued) == len(waiting) + len(self.acked) + self._dropped()

    @invariant()
    def the_ledger_of_the_current_stream_is_right(self) -> None:
        mine = [seq for stream, seq in self._waiting() if stream == self.outbox.stream]
        assert self.outbox.oldest_seq == min(mine, default=self.outbox.next_seq)

    @invariant()
    def both_stores_keep_their_bounds(self) -> None:
        for store in (self.outbox._hot, self.outbox._cold.file):
            assert store is None or store.used_bytes() <= (80 + 64 + 128) << 10

    def teardown(self) -> None:
        self.machine.close()
        self.directory.cleanup()
        self.patch.undo()

    def _open(self) -> Outbox:
        return self.machine.open(max_bytes=1)

    def _reopen(self) -> None:
        self.machine.close()
        self.outbox = self._open()
        if self.full:
            fill_disk(self.outbox)

    def _stores(self) -> list[SampleFile]:
        return [store for store in (self.outbox._hot, self.outbox._cold.file) if store is not None]

    def _waiting(self) -> set[Key]:
        found = set()
        for store in self._stores():
            names = {stream.id: stream.name for stream in store.streams()}
            found |= {(names[sample.stream_id], sample.seq) for sample in store.samples()}
        return found

    def _dropped(self) -> int:
        return sum(store.figures(stream.id).dropped for store in self._stores() for stream in store.streams())


Lives.TestCase.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_outbox_keeps_its_ledger = Lives.TestCase
