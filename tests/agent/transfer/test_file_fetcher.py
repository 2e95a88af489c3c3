"""Fetching a file: over lost messages and restarts, at a limited rate, and never a file with another hash."""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import Clock
from waiting import wait_until

from agent.transfer.file_fetcher import FileFetcher
from agent.transfer.file_queue import TransferError
from agent.transfer.pace import ANSWER_SECONDS, PATIENCE_SECONDS
from runtime.partial_file import KEPT_SECONDS, PartialFile, prune
from schemas.contract.files.transfer import CHUNK_MAX_BYTES, Chunk, Fetch

CONTENT = random.Random(7).randbytes(700_000)  # noqa: S311 - made up
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def answer(request: bytes, content: bytes = CONTENT) -> Chunk:
    fetch = Fetch.decode(request)
    part = content[fetch.offset : fetch.offset + fetch.length]
    return Chunk.decode(Chunk.encode_part(fetch.sha256, fetch.offset, len(content), part))


class Machine:
    """A machine that fetches one file, with a clock that the test controls."""

    def __init__(self, directory: Path, clock: Clock, *, bytes_per_second: float = 1e9, limit: int = 1 << 20) -> None:
        self.clock = clock
        self.fetcher = FileFetcher(directory / "transfer", clock, bytes_per_second=bytes_per_second)
        self.result: Path | Exception | None = None
        self._thread = threading.Thread(target=self._fetch, args=(limit,), daemon=True)
        self._thread.start()
        wait_until(lambda: self.fetcher.due_at < float("inf") or self.result, what="the download")

    def step(self, seconds: float = 0.1, *, connected: bool = True) -> list[bytes]:
        self.clock.advance(seconds)
        return self.fetcher.step(connected=connected)

    def serve(self, serve: Callable[[bytes], Chunk] = answer, *, times: int = 1000) -> None:
        for _ in range(times):
            for request in self.step():
                self.fetcher.handle(serve(request))
            if self.fetcher.due_at == float("inf"):
                return

    def end(self) -> Path | Exception:
        self._thread.join(30)
        assert self.result is not None
        return self.result

    def _fetch(self, limit: int) -> None:
        try:
            self.result = self.fetcher.fetch(SHA256, limit=limit, seconds=60)
        except TransferError as error:
            self.result = error


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Machine:
    return Machine(tmp_path, clock)


def test_a_file_arrives_in_chunks_of_at_most_128_kib_and_has_its_hash(machine: Machine) -> None:
    sizes = []

    def serve(request: bytes) -> Chunk:
        part = answer(request)
        sizes.append(len(part.encode()))
        return part

    machine.serve(serve)
    path = machine.end()
    assert isinstance(path, Path)
    assert path.read_bytes() == CONTENT
    assert len(sizes) > 5
    assert max(sizes) <= 128 << 10
    assert sizes[0] < sizes[4]


def test_an_empty_file_arrives(tmp_path: Path, clock: Clock) -> None:
    sha256 = hashlib.sha256(b"").hexdigest()
    found: list[Path] = []
    fetching = FileFetcher(tmp_path, clock, bytes_per_second=1e6)
    thread = threading.Thread(target=lambda: found.append(fetching.fetch(sha256, limit=10, seconds=60)))
    thread.start()
    (request,) = wait_until(lambda: fetching.step(connected=True), what="the request")
    fetching.handle(answer(request, b""))
    thread.join(30)
    assert found[0].read_bytes() == b""


def test_lost_requests_lost_chunks_and_chunks_that_come_twice_change_nothing(machine: Machine) -> None:
    chance = random.Random(3)  # noqa: S311 - the same each time
    while machine.fetcher.due_at < float("inf"):
        for request in machine.step(ANSWER_SECONDS + 0.1):
            if chance.random() < 0.4:
                continue
            part = answer(request)
            machine.fetcher.handle(part)
            if machine.fetcher.due_at < float("inf"):
                machine.fetcher.handle(part)
    path = machine.end()
    assert isinstance(path, Path)
    assert path.read_bytes() == CONTENT


def test_on_a_slow_connection_it_asks_for_less_and_on_a_fast_one_for_more(machine: Machine) -> None:
    lengths = []
    for seconds in (3.0, 3.0, 3.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1):
        (request,) = machine.step(0)
        lengths.append(Fetch.decode(request).length)
        machine.clock.advance(seconds)
        machine.fetcher.handle(answer(request))
    kib = 1024
    assert lengths == [16 * kib, 8 * kib, 4 * kib, 4 * kib, 8 * kib, 16 * kib, 32 * kib, 64 * kib, CHUNK_MAX_BYTES]


def test_it_takes_no_more_bytes_per_second_than_the_owner_allows(tmp_path: Path, clock: Clock) -> None:
    machine, began = Machine(tmp_path, clock, bytes_per_second=100_000), clock.monotonic()
    machine.serve(times=10_000)
    assert isinstance(machine.end(), Path)
    assert 6.0 <= clock.monotonic() - began <= 12.0


def test_a_request_is_repeated_at_once_after_a_lost_connection_and_else_only_after_a_while(machine: Machine) -> None:
    assert machine.step()
    assert not machine.step()
    assert not machine.step(connected=False)
    machine.fetcher.connected()
    assert machine.step()
    assert not machine.step()
    assert machine.step(ANSWER_SECONDS)


def test_a_restart_continues_where_the_last_process_was(tmp_path: Path, clock: Clock) -> None:
    Machine(tmp_path, clock).serve(times=5)
    machine = Machine(tmp_path, clock)
    offsets: list[int] = []

    def serve(request: bytes) -> Chunk:
        offsets.append(Fetch.decode(request).offset)
        return answer(request)

    machine.serve(serve)
    path = machine.end()
    assert isinstance(path, Path)
    assert path.read_bytes() == CONTENT
    assert offsets[0] > 100_000


def test_what_a_power_cut_damaged_is_fetched_again(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "transfer").mkdir()
    (tmp_path / "transfer" / f"{SHA256}.part").write_bytes(bytes(300_000))
    machine = Machine(tmp_path, clock)
    machine.serve()
    path = machine.end()
    assert isinstance(path, Path)
    assert path.read_bytes() == CONTENT


def test_a_file_with_another_hash_is_never_handed_over(machine: Machine, tmp_path: Path) -> None:
    machine.serve(lambda request: answer(request, CONTENT[:-1] + b"!"))
    assert str(machine.end()) == "the file does not have the expected SHA-256"
    assert list((tmp_path / "transfer").iterdir()) == []


def test_a_file_that_the_server_does_not_have_or_that_is_too_large_ends_with_a_sentence(
    tmp_path: Path, clock: Clock
) -> None:
    machine = Machine(tmp_path, clock)
    machine.serve(lambda _: Chunk(sha256=SHA256, refused="unknown", detail="the server has no such file"))
    assert str(machine.end()) == "the server has no such file"
    machine = Machine(tmp_path, clock, limit=500_000)
    machine.serve()
    assert str(machine.end()) == "the file has 700000 bytes, more than 500000"


def test_a_file_leaves_space_on_the_disk(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10 << 20

    monkeypatch.setattr("agent.transfer.file_fetcher.shutil.disk_usage", lambda _: Usage)
    machine.serve()
    assert "there is no space for 700000 bytes" in str(machine.end())


def test_without_an_answer_it_gives_up_but_not_while_there_is_no_connection(machine: Machine) -> None:
    for _ in range(100):
        machine.step(PATIENCE_SECONDS / 10, connected=False)
    assert machine.result is None
    machine.fetcher.connected()
    for _ in range(40):
        machine.step(ANSWER_SECONDS)
    assert str(machine.end()) == "the server has not answered for 300 s"


def test_an_action_that_no_longer_waits_holds_up_no_other_file(tmp_path: Path, clock: Clock) -> None:
    fetching = FileFetcher(tmp_path, clock, bytes_per_second=1e9)
    with pytest.raises(TransferError, match="did not arrive within"):
        fetching.fetch("a" * 64, limit=10, seconds=0.01)
    assert fetching.step(connected=True) == []


def test_what_nobody_fetched_any_more_is_deleted_and_what_remains_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, age in (("old", KEPT_SECONDS + 10), ("older", 30), ("new", 10)):
        PartialFile(tmp_path, name).append(b"x" * 100)
        path = tmp_path / f"{name}.part"
        os.utime(path, (time.time() - age, time.time() - age))
    monkeypatch.setattr("runtime.partial_file.TOTAL_MAX_BYTES", 150)
    prune(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new.part"]
