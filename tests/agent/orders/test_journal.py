"""The journal on a disk that fails, is damaged or loses power: no order is ever forgotten or run twice."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acting import new_id
from clocks import Clock
from outboxes import flip

from agent.action import StartedOrder
from agent.orders.journal import (
    FUTURE_MILLISECONDS,
    KEPT_MILLISECONDS,
    Journal,
    JournalError,
    create_before_keys,
)
from agent.orders.trusted_keys import KEYS_FILE
from schemas.contract.commands import Order, Result

HOUR = 3_600_000


class Disk:
    """The directory of a journal, and the journals that were opened in it."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.clock = clock
        self.path = directory / "first" / "journal.db"
        self.path.parent.mkdir()
        self._opened: list[Journal] = []

    def open(self) -> Journal:
        self._opened.append(Journal(self.path, self.clock))
        return self._opened[-1]

    def cut_power(self) -> None:
        """Continue with a copy of the files as they are at this moment."""
        copy = self.path.parent.with_name(f"{self.path.parent.name}+")
        shutil.copytree(self.path.parent, copy)
        self.path = copy / self.path.name

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def order(self, *, lives: int = HOUR, **facts: Any) -> Order:  # noqa: ANN401
        now = self.clock.now()
        values = {"id": new_id(), "org": "home", "machine": "attic", "action": "ping", "issued_at": now}
        return Order.model_validate({**values, "expires_at": now + lives, **facts})

    def start(self, journal: Journal, order: Order) -> StartedOrder:
        started = StartedOrder(order, self.clock.now(), "process", "boot")
        journal.start(started, self.result(order, "running"))
        return started

    def run(self, journal: Journal, order: Order, **facts: Any) -> Result:  # noqa: ANN401
        result = self.result(order, "succeeded", **facts)
        assert journal.finish(self.start(journal, order), result)
        return result

    def result(self, order: Order, state: str, **facts: Any) -> Result:  # noqa: ANN401
        return Result.model_validate({"session": 1, "id": order.id, "state": state, "at": self.clock.now(), **facts})


@pytest.fixture
def disk(tmp_path: Path, clock: Clock) -> Iterator[Disk]:
    made = Disk(tmp_path, clock)
    yield made
    made.close()


def test_what_began_is_known_after_a_power_cut_at_that_moment(disk: Disk) -> None:
    disk.start(disk.open(), order := disk.order())
    disk.cut_power()
    again = disk.open()

    (entry,) = again.running()
    assert (entry.started.order, entry.started.process, entry.result.state) == (order, "process", "running")
    assert again.known(order) == entry
    with pytest.raises(JournalError):
        disk.start(again, order)


def test_every_write_is_synced_before_it_returns(disk: Disk) -> None:
    journal = disk.open()
    assert journal._database is not None

    assert journal._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_outcome_is_kept_whole_until_it_is_acknowledged(disk: Disk) -> None:
    journal = disk.open()
    result = disk.run(journal, order := disk.order(), output="x" * 60_000, reason="r", detail="d")
    disk.cut_power()
    journal = disk.open()
    assert [entry.result for entry in journal.unacked(10)] == [result]
    journal.acked([order.id, "f" * 32])

    assert journal.unacked(10) == []
    entry = journal.known(order)
    assert entry is not None
    assert entry.result == result.model_copy(update={"output": None})


def test_nothing_goes_before_its_order_has_expired(disk: Disk) -> None:
    journal = disk.open()
    orders = [disk.order(lives=seconds * 1000) for seconds in (60, 120)]
    for order in orders:
        disk.run(journal, order)
    journal.acked([order.id for order in orders])
    disk.clock.advance(60)
    journal.prune()
    assert all(journal.known(order) for order in orders)
    disk.clock.advance(1)
    journal.prune()

    with pytest.raises(JournalError, match="forgotten"):
        journal.known(orders[0])
    assert journal.known(orders[1])


def test_the_floor_outlives_a_restart_and_a_clock_that_is_set_back(disk: Disk) -> None:
    journal = disk.open()
    disk.run(journal, order := disk.order(lives=60_000))
    before = disk.order(lives=59_000)
    after = disk.order(lives=61_000)
    journal.acked([order.id])
    disk.clock.advance(61)
    journal.prune()
    disk.clock.advance(-61)
    disk.cut_power()
    journal = disk.open()

    for forgotten in (order, before):
        with pytest.raises(JournalError, match="forgotten"):
            journal.known(forgotten)
    assert journal.known(after) is None


def test_what_nobody_acknowledged_and_what_runs_stays_longer(disk: Disk) -> None:
    journal = disk.open()
    disk.run(journal, order := disk.order(lives=60_000))
    disk.start(journal, running := disk.order(lives=60_000))
    disk.clock.advance(3600)
    journal.prune()
    assert journal.known(order)
    disk.clock.advance(KEPT_MILLISECONDS / 1000)
    journal.prune()

    assert journal.unacked(10) == []
    assert [entry.result.id for entry in journal.running()] == [running.id]


def damages() -> dict[str, Any]:
    def header(path: Path) -> None:
        path.write_bytes(b"no database" + path.read_bytes()[11:])

    def middle(path: Path) -> None:
        flip(path)

    def replaced(path: Path) -> None:
        path.write_bytes(os.urandom(20_000))

    def sql(statement: str) -> Any:  # noqa: ANN401
        def change(path: Path) -> None:
            database = sqlite3.connect(path)
            database.execute(statement)
            database.commit()
            database.close()

        return change

    def name(path: Path) -> None:
        """The check reports an index whose name is not UTF-8."""
        sql("CREATE INDEX entry_zz ON entry (expires_at)")(path)
        database = sqlite3.connect(path)
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX entry_zz ON entry (at)' WHERE name = 'entry_zz'")
        database.commit()
        database.close()
        path.write_bytes(path.read_bytes().replace(b"entry_zz", b"entry_\xff\xff"))

    return {
        "header": header,
        "middle": middle,
        "replaced": replaced,
        "id": sql("UPDATE entry SET id = 'x' WHERE rowid = (SELECT max(rowid) FROM entry)"),
        "order": sql("UPDATE entry SET order_json = CAST(x'ff00' AS TEXT)"),
        "result": sql("UPDATE entry SET result_json = x'00'"),
        "bounds": sql("DELETE FROM meta"),
        "table": sql("DROP TABLE meta"),
        "name": name,
    }


@pytest.mark.parametrize("damage", damages().values(), ids=damages())
def test_after_damage_no_order_of_before_runs_and_one_of_later_does(disk: Disk, damage: Any) -> None:  # noqa: ANN401
    journal = disk.open()
    orders = [disk.order(arguments={"text": "x" * 900}) for _ in range(40)]
    for order in orders:
        disk.run(journal, order)
    journal.close()
    damage(disk.path)
    os.utime(disk.path, (disk.clock.monotonic(),) * 2)
    journal = disk.open()
    for order in (*orders, disk.order()):
        try:
            assert journal.known(order) is not None
        except JournalError:
            assert journal.quarantined
    assert journal.quarantined
    assert journal.running() == journal.unacked(10) == []
    disk.clock.advance(FUTURE_MILLISECONDS / 1000)
    disk.run(journal, later := disk.order())

    assert journal.known(later)


def test_the_line_is_drawn_again_when_the_agent_dies_between_moving_aside_and_drawing_it(disk: Disk) -> None:
    journal = disk.open()
    disk.run(journal, order := disk.order())
    journal.close()
    disk.path.rename(disk.path.with_name("journal.db.corrupt-1"))

    with pytest.raises(JournalError, match="damaged"):
        disk.open().known(order)


def test_a_journal_that_is_missing_where_there_are_keys_draws_the_line(disk: Disk) -> None:
    journal = disk.open()
    disk.run(journal, order := disk.order())
    journal.close()
    for file in disk.path.parent.glob("journal.db*"):
        file.unlink()
    disk.path.with_name(KEYS_FILE).touch()
    journal = disk.open()

    with pytest.raises(JournalError, match="lost"):
        journal.known(order)
    disk.clock.advance(FUTURE_MILLISECONDS / 1000)
    assert journal.known(disk.order()) is None


def test_the_journal_of_a_new_machine_is_there_before_its_keys_and_rejects_nothing(disk: Disk) -> None:
    create_before_keys(disk.path.parent, disk.clock)
    disk.path.with_name(KEYS_FILE).touch()

    assert disk.open().known(disk.order()) is None


def test_no_journal_is_created_once_there_are_keys(disk: Disk) -> None:
    disk.path.with_name(KEYS_FILE).touch()
    create_before_keys(disk.path.parent, disk.clock)

    assert not disk.path.exists()


def test_the_line_holds_though_the_clock_was_set_back_before_the_damage_was_found(disk: Disk) -> None:
    journal = disk.open()
    disk.run(journal, order := disk.order())
    journal.close()
    disk.path.write_bytes(b"damaged" * 1000)
    os.utime(disk.path, (disk.clock.monotonic(),) * 2)
    disk.clock.advance(-86_400)

    with pytest.raises(JournalError, match="damaged"):
        disk.open().known(order)


def test_a_journal_that_cannot_be_opened_lets_nothing_run_and_is_tried_again(disk: Disk) -> None:
    order = disk.order()
    disk.path.mkdir()
    journal = disk.open()
    assert journal.failing
    assert journal.running() == journal.unacked(10) == []
    with pytest.raises(JournalError):
        journal.known(order)
    with pytest.raises(JournalError):
        disk.start(journal, order)
    disk.path.rmdir()

    assert journal.known(order) is None
    disk.start(journal, order)
    assert not journal.failing or journal.running()


def test_a_second_process_can_run_nothing(disk: Disk) -> None:
    journal = disk.open()
    disk.run(journal, order := disk.order())
    other = disk.open()

    with pytest.raises(JournalError):
        other.known(order)
    with pytest.raises(JournalError):
        disk.start(other, disk.order())
