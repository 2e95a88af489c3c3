"""Sending a file: part by part, from where the server is, at a limited rate, until the server has stored it."""

import hashlib
import random
import threading
from pathlib import Path

import pytest
from clocks import Clock
from waiting import wait_until

from agent.transfer.file_queue import TransferError
from agent.transfer.file_sender import FileSender
from agent.transfer.pace import ANSWER_SECONDS, PATIENCE_SECONDS
from schemas.contract.files.transfer import Receipt, Upload

CONTENT = random.Random(7).randbytes(500_000)  # noqa: S311 - made up
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ORDER = "a" * 32


class Sending:
    """A machine that sends one file, a server that takes it, and a clock that the test controls."""

    def __init__(self, directory: Path, clock: Clock, *, bytes_per_second: float = 1e9, seconds: float = 60) -> None:
        self.clock = clock
        self.sender = FileSender(clock, bytes_per_second=bytes_per_second)
        self.received = bytearray()
        self.sizes: list[int] = []
        self.problem: str | None = None
        self._seconds = seconds
        self.path = directory / "file"
        self.path.write_bytes(CONTENT)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()
        wait_until(lambda: self.sender.due_at < float("inf"), what="the file")

    def step(self, seconds: float = 0.1, *, connected: bool = True) -> list[Upload]:
        self.clock.advance(seconds)
        parts = self.sender.step(connected=connected)
        self.sizes += map(len, parts)
        return [Upload.decode(part) for part in parts]

    def answer(self, part: Upload) -> Receipt:
        """Take a part as the server does, and return its answer."""
        if part.data and part.offset == len(self.received):
            self.received += part.content
        stored = len(self.received) == part.size
        return Receipt(order=ORDER, sha256=SHA256, offset=len(self.received), stored=stored)

    def run(self) -> None:
        while self.sender.due_at < float("inf"):
            for part in self.step():
                self.sender.handle(self.answer(part))

    def end(self) -> str | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.problem

    def _send(self) -> None:
        try:
            self.sender.send(self.path, SHA256, ORDER, seconds=self._seconds)
        except TransferError as error:
            self.problem = str(error)


@pytest.fixture
def sending(tmp_path: Path, clock: Clock) -> Sending:
    return Sending(tmp_path, clock)


def test_a_file_is_sent_in_messages_of_at_most_128_kib_that_grow_on_a_fast_connection(sending: Sending) -> None:
    sending.run()
    assert sending.end() is None
    assert sending.received == CONTENT
    assert max(sending.sizes) <= 128 << 10
    assert sending.sizes[0] < 300  # the question where the server is
    assert sending.sizes[1] < sending.sizes[4]


def test_lost_parts_and_lost_answers_change_nothing(sending: Sending) -> None:
    chance = random.Random(3)  # noqa: S311 - the same each time
    while sending.sender.due_at < float("inf"):
        for part in sending.step(ANSWER_SECONDS + 0.1):
            if chance.random() < 0.3:
                continue
            answer = sending.answer(part)
            if chance.random() < 0.7:
                sending.sender.handle(answer)
    assert sending.end() is None
    assert sending.received == CONTENT


def test_it_continues_where_the_server_is_and_goes_back_where_the_server_has_to(sending: Sending) -> None:
    sending.received += CONTENT[:300_000]
    (question,) = sending.step()
    assert (question.offset, question.data) == (0, "")
    sending.sender.handle(sending.answer(question))
    (part,) = sending.step()
    assert part.offset == 300_000
    sending.received.clear()
    sending.sender.handle(sending.answer(part))
    (again,) = sending.step()
    assert again.offset == 0
    assert again.data


def test_after_a_lost_connection_the_part_is_sent_at_once(sending: Sending) -> None:
    (question,) = sending.step()
    assert sending.step(1) == []
    sending.sender.connected()
    assert sending.step() == [question]


def test_a_machine_sends_no_faster_than_it_may(tmp_path: Path, clock: Clock) -> None:
    sending = Sending(tmp_path, clock, bytes_per_second=50_000)
    began = clock.monotonic()
    sending.run()
    assert len(CONTENT) / 50_000 * 0.8 <= clock.monotonic() - began <= len(CONTENT) / 50_000 * 1.5


def test_a_refusal_ends_it_and_so_does_a_server_that_does_not_answer(sending: Sending, tmp_path: Path) -> None:
    sending.step()
    sending.sender.handle(Receipt(order="b" * 32, sha256=SHA256, refused="error", detail="of another order"))
    sending.sender.handle(Receipt(order=ORDER, sha256=SHA256, refused="limit", detail="there is no space"))
    assert sending.end() == "there is no space"
    silent = Sending(tmp_path, sending.clock)
    silent.step(PATIENCE_SECONDS, connected=False)  # without a connection no time passes
    silent.step()
    silent.step(PATIENCE_SECONDS + 1)
    assert silent.end() == "the server has not answered for 300 s"


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_begins(tmp_path: Path, clock: Clock) -> None:
    late = Sending(tmp_path, clock, seconds=0.01)
    assert late.end() == "the server has not received the whole file within 0.01 s"
    assert late.step() == []
    assert late.sender.due_at == float("inf")
