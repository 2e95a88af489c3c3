"""The oracle: what became of every sample, told from the journals, the outboxes and the table of samples alone.

issued      measured: its number is in the machine's journal
accepted    took its place (stream, seq) in the outbox: everything below the outbox's next number
stored      a row of the table `sample`
missing     accepted, and neither stored nor counted as dropped nor still in the outbox
spurious    stored, and never issued, or stored twice
corrupted   stored with readings that do not follow from its number, or out of the order in which it was issued
"""

import sqlite3
import time
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from faults.fleet import Fleet, Machine
from faults.probe.collectors.probe import readings_of
from sqlalchemy import select

from schemas.database import tables
from schemas.fleet.ranges import Ranges

ARRIVAL_SECONDS = 5.0


@dataclass(slots=True)
class Verdict:
    """The counts, over all machines."""

    issued: int = 0
    accepted: int = 0
    stored: int = 0
    dropped: int = 0
    waiting: int = 0
    missing: int = 0
    spurious: int = 0
    corrupted: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing invented, nothing damaged."""
        return self.stored > 0 and self.missing == self.spurious == self.corrupted == 0


def judge(fleet: Fleet) -> Verdict:
    """Judge a fleet whose agents have stopped."""
    verdict = Verdict()
    for machine in fleet.machines.values():
        assert not machine.process.running, f"{machine.name} still runs"
        _judge_one(fleet, machine, verdict)
    return verdict


def _judge_one(fleet: Fleet, machine: Machine, verdict: Verdict) -> None:
    issued = [int(line) for line in machine.journal.read_text().split()]
    streams = fleet.stored()[machine.name]
    places, spurious, corrupted = _rows_judged(fleet, machine, issued, ordered=len(streams) == 1)
    accepted, dropped, waiting = outbox_of(machine.cold, machine.hot)
    for stream, ranges in streams.items():
        accepted[stream] = max(accepted.get(stream, 0), max((last for _, last in ranges), default=0))
    gone = 0
    for stream, last in accepted.items():
        ranges = streams.get(stream, Ranges())
        gone += sum(seq not in ranges and (stream, seq) not in waiting for seq in range(1, last + 1))
        verdict.waiting += sum(name == stream and seq not in ranges for name, seq in waiting)
    by_ledger = sum(len(ranges) for ranges in streams.values())
    verdict.issued += len(issued)
    verdict.accepted += sum(accepted.values())
    verdict.stored += places + spurious
    verdict.dropped += dropped
    verdict.missing += abs(gone - dropped) + abs(by_ledger - places)
    verdict.spurious += spurious
    verdict.corrupted += corrupted


def _rows_judged(fleet: Fleet, machine: Machine, issued: list[int], *, ordered: bool) -> tuple[int, int, int]:
    """How many rows have a place of their own in the journal, how many have none, and how many are damaged."""
    order = {number: place for place, number in enumerate(issued)}
    query = select(tables.sample).join(tables.machine).where(tables.machine.c.name == machine.name)
    places, spurious, corrupted = [], 0, 0
    with fleet.engine.connect() as connection:
        for row in connection.execute(query.order_by(tables.sample.c.seq)):
            found = {**row._mapping, **(row.extra or {})}
            number = int(found.get("probe_number", -1))
            if number not in order:
                spurious += 1
                continue
            places.append(order[number])
            corrupted += any(found[name] != value for name, value in readings_of(number).items())
    if ordered:
        corrupted += sum(later < earlier for earlier, later in pairwise(places))
    different = len(set(places))
    return different, spurious + len(places) - different, corrupted


def outbox_of(*paths: Path) -> tuple[dict[str, int], int, set[tuple[str, int]]]:
    """How many numbers each stream gave out, how many samples were dropped, and which wait."""
    accepted: dict[str, int] = {}
    dropped, waiting = 0, set[tuple[str, int]]()
    for path in paths:
        if not path.exists():
            continue
        for name, next_seq, lost in _rows(path, "SELECT name, next_seq, dropped FROM stream"):
            accepted[str(name)] = max(accepted.get(str(name), 0), int(next_seq) - 1)
            dropped += int(lost)
        rows = _rows(path, "SELECT name, seq FROM sample JOIN stream ON stream.id = stream_id")
        waiting |= {(str(name), int(seq)) for name, seq in rows}
    return accepted, dropped, waiting


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def assert_clean(fleet: Fleet, *, what: str) -> Verdict:
    """Stop the agents, let the last samples arrive, and demand that the last three counts are 0. Prints the verdict."""
    for machine in fleet.machines.values():
        machine.process.stop()
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while (verdict := judge(fleet)).waiting and time.monotonic() < deadline:
        time.sleep(0.2)
    say(f"{what}: {verdict}")
    assert verdict.clean, f"{what}: {verdict}"
    return verdict


def say(figures: str) -> None:
    """The figures of a proof, for `pytest -s` and for the report of what passed."""
    print(f"\n{figures}", flush=True)
