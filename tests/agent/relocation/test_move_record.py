"""The record of a move: with it the machine belongs to the new server, without it to the old one, and never to none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import Clock
from outboxes import count_waiting, put

from agent.action import StartedOrder
from agent.enrolment import enrolled_as
from agent.orders.journal import JOURNAL_FILE, Journal, create_before_keys
from agent.orders.results import result_of
from agent.orders.trusted_keys import KEYS_FILE, TrustedKeys, write_keys
from agent.outbox.outbox import Outbox
from agent.relocation.move_record import MoveRecord, followed, read_move, receiver_of, settle, write_move
from runtime.settings.agent import AgentSettings
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from schemas.contract.commands import Order
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.signing import key_id, new_key, public_key

OLD, NEW = "mqtts://old.example:8883", "mqtts://new.example:8883"
OLD_KEY, NEW_KEY = public_key(new_key()), public_key(new_key())
ORDER = "1" * 32


class PowerCut(BaseException):
    """The machine stops here."""


@pytest.fixture
def data(tmp_path: Path, clock: Clock) -> Path:
    """A machine of the old server, with four samples that wait and an order that has run."""
    own = tmp_path / "agent"
    create_before_keys(own, clock)
    write_keys(own / KEYS_FILE, "home", [EnrolledKey(public_key=OLD_KEY)])
    StateDirectory(tmp_path).enrol({"server": OLD, "org": "home", "machine": "attic"})
    write_secret(StateDirectory(tmp_path).secret("agent"), "s" * 43)
    journal = Journal(own / JOURNAL_FILE, clock)
    for id_, state in (("a" * 32, "succeeded"), ("b" * 32, "running")):
        order = Order(
            id=id_, org="home", machine="attic", action="ping", issued_at=clock.now(), expires_at=clock.now() + 60_000
        )
        started = StartedOrder(order, clock.now(), "process", "boot")
        journal.start(started, result_of(id_, "running", clock.now(), action="ping"))
        if state != "running":
            journal.finish(started, result_of(id_, state, clock.now(), action="ping"))
    journal.close()
    outbox = opened(tmp_path, clock)
    put(outbox, 4)
    outbox.close()
    return tmp_path


def opened(data: Path, clock: Clock) -> Outbox:
    own = data / "agent"
    return Outbox(
        own / "outbox.db", own / "hot.db", max_bytes=1 << 20, boot="b", clock=clock, receiver=receiver_of(data)
    )


def record(**fields: object) -> MoveRecord:
    known = {"configured": OLD, "server": NEW, "org": "acme", "ca_file": None, "receiver": ORDER}
    return MoveRecord.model_validate({**known, "keys": (EnrolledKey(public_key=NEW_KEY),), **fields})


def settings(data: Path, **fields: object) -> AgentSettings:
    return AgentSettings.model_validate({"data": data, "machine": "attic", "server": OLD, "org": "home", **fields})


def start(data: Path, clock: Clock) -> AgentSettings:
    """Do what the agent's process does first, and return its settings."""
    settle(data, "attic", clock)
    found = followed(settings(data))
    outbox = opened(data, clock)
    assert count_waiting(outbox) == 4
    outbox.close()
    return found


def test_without_a_record_the_machine_belongs_to_its_old_server(data: Path, clock: Clock) -> None:
    assert (start(data, clock).server, receiver_of(data)) == (OLD, "")


def test_with_a_record_everything_names_the_new_server(data: Path, clock: Clock) -> None:
    write_move(data, record())
    found = start(data, clock)

    assert (found.server, found.org) == (NEW, "acme")
    assert enrolled_as(data) == "acme/attic"
    assert StateDirectory(data).enrolled["server"] == NEW
    assert TrustedKeys(data / "agent" / KEYS_FILE, "acme").ids == (key_id(NEW_KEY),)
    written = read_move(data)
    assert written is not None
    assert written.settled


def test_the_new_server_hears_of_no_order_of_the_old_one(data: Path, clock: Clock) -> None:
    write_move(data, record())
    start(data, clock)
    journal = Journal(data / "agent" / JOURNAL_FILE, clock)

    assert (journal.running(), journal.unacked(10)) == ([], [])
    journal.close()


def test_keys_that_the_new_server_added_later_stay(data: Path, clock: Clock) -> None:
    write_move(data, record())
    start(data, clock)
    more = [EnrolledKey(public_key=key) for key in (NEW_KEY, OLD_KEY)]
    write_keys(data / "agent" / KEYS_FILE, "acme", more)

    start(data, clock)

    assert len(TrustedKeys(data / "agent" / KEYS_FILE, "acme").ids) == 2


def test_a_setting_that_still_names_the_old_server_names_the_new_one(data: Path) -> None:
    write_move(data, record(ca_file="/etc/ca.pem"))

    found = followed(settings(data))

    assert (found.server, found.ca_file) == (NEW, Path("/etc/ca.pem"))


def test_a_setting_that_the_owner_has_changed_since_is_in_force(data: Path) -> None:
    write_move(data, record())
    third = settings(data, server="mqtts://third.example")

    assert followed(third) == third


def test_a_damaged_record_is_reported_and_the_settings_are_in_force(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "agent" / "move.json").write_text("{")

    assert followed(settings(data)).server == OLD
    assert "a move to another server is forgotten" in caplog.text


def test_a_disk_that_is_full_when_a_move_is_completed_keeps_the_machine_at_the_new_server(
    data: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_move(data, record())
    with monkeypatch.context() as patch:
        patch.setattr("agent.relocation.move_record.write_keys", _full)
        settle(data, "attic", clock)

    assert followed(settings(data)).server == NEW
    assert "cannot complete the move" in caplog.text
    assert start(data, clock).server == NEW
    assert TrustedKeys(data / "agent" / KEYS_FILE, "acme").ids == (key_id(NEW_KEY),)


@pytest.mark.parametrize("step", range(12))
def test_a_power_cut_at_any_write_leaves_the_machine_at_one_of_the_servers(
    data: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Each rename of a file and each commit of the journal is a write; the last steps are after all of them."""
    writes = 0

    def counted(write: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **named: object) -> object:
            nonlocal writes
            if writes == step:
                raise PowerCut
            writes += 1
            return write(*arguments, **named)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted(os.fsync))
        patch.setattr(Journal, "_once", counted(Journal._once))
        try:
            write_move(data, record())
            settle(data, "attic", clock)
        except PowerCut:
            pass
    moved = read_move(data) is not None
    found = start(data, clock)

    assert found.server == (NEW if moved else OLD)
    org, key = ("acme", NEW_KEY) if moved else ("home", OLD_KEY)
    assert (found.org, enrolled_as(data)) == (org, f"{org}/attic")
    assert TrustedKeys(data / "agent" / KEYS_FILE, org).ids == (key_id(key),)
    assert StateDirectory(data).enrolled["server"] == found.server
    assert read_move(data) == (record(settled=True) if moved else None)


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
