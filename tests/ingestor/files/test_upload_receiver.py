"""Files pulled from machines: only those that an operator ordered, whole, within limits, and as no burden."""

import base64
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from pydantic import ValidationError

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from ingestor.files.file_rates import FileRates
from ingestor.files.server_files import FileLimits, ServerFiles
from ingestor.files.upload_receiver import PRUNE_SECONDS, UploadReceiver
from schemas.contract import topics
from schemas.contract.files.transfer import CHUNK_MAX_BYTES, Receipt, Upload
from schemas.contract.topics import Address

CONTENT = random.Random(5).randbytes(400_000)  # noqa: S311 - made up
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ORDER = "a" * 32
PART = 80_000


class Server:
    """A receiver, what it answers, and the orders that are running."""

    def __init__(self, directory: Path, clock: Clock, **limits: int) -> None:
        self.clock, self.directory = clock, directory
        self.pulling = {("home", "attic", ORDER)}
        sizes = {"file": 1 << 20, "machine": 1 << 20, "org": 2 << 20, **limits}
        self.store = ServerFiles(directory, FileLimits(**sizes, days=7))
        self.rates = FileRates(clock)
        self.start()
        broker = MemoryBroker()
        self.transport = MemoryTransport(broker, client_id="_ingestor", pass_time=lambda _: None)
        self._machines = MemoryTransport(
            broker, client_id="all", subscriptions=[(topics.RECEIPT.filter(), 0)], pass_time=lambda _: None
        )
        for each in (self.transport, self._machines):
            each.receive(1, 0)

    def start(self) -> None:
        self.receiver = UploadReceiver(self.store, lambda *order: order in self.pulling, self.rates)

    def send(
        self,
        offset: int | None = None,
        *,
        content: bytes = CONTENT,
        sha256: str = SHA256,
        order: str = ORDER,
        org: str = "home",
        machine: str = "attic",
    ) -> None:
        """Send a part from this offset, or the question where the server is."""
        data = b"" if offset is None else content[offset : offset + PART]
        upload = Upload(
            order=order, sha256=sha256, size=len(content), offset=offset or 0, data=base64.b64encode(data).decode()
        )
        self.receiver.handle(upload.encode(), Address(topics.UPLOAD, org=org, machine=machine))

    def answers(self, seconds: float = 1.0) -> list[Receipt]:
        self.clock.advance(seconds)
        self.receiver.step(self.transport)
        events = self._machines.receive(1000, 0)
        return [Receipt.decode(message.payload) for message in events if isinstance(message, Message)]

    def ask(self, **named: Any) -> Receipt:  # noqa: ANN401 - as of `send`
        self.send(**named)
        return self.answers()[0]

    def send_all(self, content: bytes = CONTENT, **named: Any) -> Receipt:  # noqa: ANN401 - as of `send`
        """Send a file from where the server is until it is stored or refused."""
        self.send(content=content, **named)
        (answer,) = self.answers()
        while not (answer.stored or answer.refused):
            self.send(answer.offset, content=content, **named)
            (answer,) = self.answers()
        return answer

    @property
    def stored(self) -> dict[str, bytes]:
        return {each.id: each.path.read_bytes() for each in self.store.entries()}


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Server:
    return Server(tmp_path / "files", clock)


def test_a_pulled_file_arrives_and_has_the_id_of_its_order(server: Server) -> None:
    assert server.send_all().stored
    (stored,) = server.store.entries()
    assert (stored.id, stored.org, stored.machine, stored.size) == (ORDER, "home", "attic", len(CONTENT))
    assert stored.path.read_bytes() == CONTENT
    assert stored.path.stat().st_mode & 0o777 == 0o600
    assert server.ask().stored  # an answer that was lost is given again


def test_an_empty_file_arrives(server: Server) -> None:
    assert server.send_all(b"", sha256=hashlib.sha256(b"").hexdigest()).stored
    assert server.stored == {ORDER: b""}


@pytest.mark.parametrize(
    "named", [{"order": "b" * 32}, {"machine": "cellar"}, {"org": "office"}], ids=["order", "machine", "organisation"]
)
def test_a_file_that_no_operator_has_pulled_from_this_machine_is_refused(server: Server, named: dict[str, str]) -> None:
    answer = server.ask(**named)
    assert (answer.refused, answer.detail) == ("unknown", "no order of an operator pulls this file from this machine")
    assert not server.directory.exists()


def test_a_transfer_continues_after_a_restart_of_the_server_where_it_was(server: Server) -> None:
    server.ask()
    server.send(0)
    assert server.answers()[0].offset == PART
    server.start()
    server.send(PART)  # which the new process has not invited
    assert server.answers()[0].offset == PART
    assert server.send_all().stored
    assert server.stored == {ORDER: CONTENT}


def test_another_order_for_the_same_file_continues_it(server: Server) -> None:
    server.ask()
    server.send(0)
    server.answers()
    server.pulling = {("home", "attic", "b" * 32)}
    assert server.ask(order="b" * 32).offset == PART
    assert server.send_all(order="b" * 32).stored


def test_parts_that_come_twice_or_out_of_order_or_uninvited_change_nothing(server: Server) -> None:
    server.send(0)  # before the first answer
    assert server.answers()[0].offset == 0
    server.send(PART)
    assert server.answers()[0].offset == 0
    for _ in range(3):
        server.send(0)
    assert [answer.offset for answer in server.answers()] == [PART]
    server.send(0)
    assert server.answers()[0].offset == PART
    assert server.send_all().stored
    assert server.stored == {ORDER: CONTENT}


def test_a_machine_that_does_not_wait_for_answers_writes_no_faster_than_one_that_does(server: Server) -> None:
    server.rates.machine = 40_000
    server.rates._budgets.clear()
    server.ask()
    began = server.clock.monotonic()
    while not server.stored:
        assert server.clock.monotonic() - began < 60
        for _ in range(20):
            here = next(server.directory.rglob("*.part"), None)
            server.send(here.stat().st_size if here else 0)
        server.answers(0.1)
    at_once = CHUNK_MAX_BYTES + PART
    assert server.clock.monotonic() - began >= (len(CONTENT) - at_once) / 40_000


def test_a_file_with_another_hash_than_stated_is_sent_once_more_and_then_refused(server: Server) -> None:
    wrong = bytes(len(CONTENT))
    answer = server.send_all(wrong)
    assert (answer.refused, answer.detail) == ("error", "the file does not have the stated SHA-256")
    assert server.stored == {}
    assert list(server.directory.rglob("*.part")) == []
    assert server.send_all().stored


def test_bytes_that_were_damaged_on_the_disk_of_the_server_are_sent_again(server: Server) -> None:
    server.ask()
    server.send(0)
    server.answers()
    next(server.directory.rglob("*.part")).write_bytes(bytes(PART))
    server.start()
    assert server.send_all().stored
    assert server.stored == {ORDER: CONTENT}


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"file": 399_999}, "the file has 400000 bytes, and the server stores at most 399999"),
        ({"machine": 500_000}, "the files pulled from this machine would exceed 500000 bytes"),
        ({"org": 700_000}, "the files of the organisation home would exceed 700000 bytes"),
        ({"machine_files": 1}, "the files pulled from this machine would be more than 1"),
        ({"org_files": 1}, "the files of the organisation home would be more than 1"),
    ],
)
def test_each_limit_refuses_with_its_sentence(
    tmp_path: Path, clock: Clock, limits: dict[str, int], sentence: str
) -> None:
    server = Server(tmp_path / "files", clock, **limits)
    server.pulling = {("home", "attic", ORDER), ("home", "cellar", "b" * 32), ("home", "attic", "c" * 32)}
    others = random.Random(6).randbytes(320_000)  # noqa: S311 - made up
    hash_ = hashlib.sha256(others).hexdigest()
    assert server.send_all(others, sha256=hash_, machine="cellar", order="b" * 32).stored
    if not limits.keys() & {"org", "org_files"}:
        assert server.send_all(others, sha256=hash_, order="c" * 32).stored
    answer = server.ask()
    assert (answer.refused, answer.detail) == ("limit", sentence)


def test_what_is_still_to_come_counts_so_that_two_at_once_do_not_exceed_the_limit(tmp_path: Path, clock: Clock) -> None:
    server = Server(tmp_path / "files", clock, org=700_000)
    server.pulling.add(("home", "cellar", "b" * 32))
    assert not server.ask().refused
    assert server.ask(machine="cellar", order="b" * 32).refused == "limit"


def test_two_files_on_their_way_are_no_more_than_the_number_permits(tmp_path: Path, clock: Clock) -> None:
    server = Server(tmp_path / "files", clock, org_files=1)
    server.pulling.add(("home", "cellar", "b" * 32))
    assert not server.ask().refused
    assert server.ask(machine="cellar", order="b" * 32).refused == "limit"


def test_a_file_that_another_process_deletes_makes_room_at_once(tmp_path: Path, clock: Clock) -> None:
    server = Server(tmp_path / "files", clock, org_files=1)
    server.pulling.add(("home", "cellar", "b" * 32))
    assert server.send_all(machine="cellar", order="b" * 32).stored
    assert server.ask().refused == "limit"
    server.store.get("b" * 32)[0].path.unlink()
    assert server.send_all().stored


def test_a_transfer_does_not_read_the_directories_of_all_other_machines(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path / "files", clock, org_files=100)
    for number in range(50):
        (server.store.pulled("home", f"m{number}")).mkdir(parents=True)
        (server.store.pulled("home", f"m{number}") / f"{number:032x}").write_bytes(b"1")
    assert server.send_all().stored
    read: set[str] = set()
    scandir = os.scandir

    def recording(path: Path) -> Any:  # noqa: ANN401 - what it returns is not public
        read.add(path.name)
        return scandir(path)

    monkeypatch.setattr("ingestor.files.stored_totals.os.scandir", recording)
    server.pulling.add(("home", "cellar", "b" * 32))
    assert server.send_all(machine="cellar", order="b" * 32).stored
    assert read == {"pushed", "cellar", "attic"}  # the last one was written meanwhile


def test_a_full_disk_is_one_sentence_and_leaves_the_rest_of_the_disk_free(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("ingestor.files.server_files.shutil.disk_usage", lambda _: Usage)
    assert server.ask().detail == "there is no space for the file on the disk of the server"


def test_a_file_that_cannot_be_written_is_refused_with_the_reason(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ask()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ingestor.files.upload_receiver.PartialFile.append", fail)
    server.send(0)
    assert server.answers()[0].detail == "the server cannot store the file: Input/output error"
    monkeypatch.undo()
    assert server.send_all().stored


def test_old_files_are_deleted_and_others_stay(server: Server) -> None:
    server.send_all()
    server.answers(PRUNE_SECONDS)
    assert list(server.stored) == [ORDER]
    (stored,) = server.store.entries()
    os.utime(stored.path, (0, 0))
    server.answers(PRUNE_SECONDS)
    assert server.stored == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"order": "../../etc/cron.d/evil"},
        {"order": "A" * 32},
        {"sha256": "../" + "a" * 61},
        {"size": -1},
        {"size": 1 << 40},
        {"data": "%%"},
        {"data": "A" * 200_000},
        {"offset": 400_000, "data": "AAAA"},
    ],
    ids=str,
)
def test_a_part_that_is_none_is_rejected(server: Server, fields: dict[str, object]) -> None:
    valid = Upload(order=ORDER, sha256=SHA256, size=400_000).model_dump()
    payload = json.dumps({**valid, **fields}).encode()
    with pytest.raises(ValidationError):
        server.receiver.handle(payload, Address(topics.UPLOAD, org="home", machine="attic"))
