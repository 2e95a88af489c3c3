"""Test data in the fleet database: machines, their states and histories, as the ingestor writes them."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from readings import SERIES_METRICS as SERIES_METRICS
from readings import Devices
from sqlalchemy import CursorResult, Engine, insert, select, update

from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from ingestor.storage.rollup_marks import RollupMarks
from schemas.contract.facts import RANKS
from schemas.contract.messages import Sample, Vitals
from schemas.database import tables
from schemas.fleet.health import health
from schemas.fleet.history import HOUR, MINUTE

NOW = 1_700_000_000_000
GIB = 2**30

_TEXT = {"type": "string", "title": "Text", "minLength": 1, "maxLength": 500, "description": "What people read"}
_URGENCY = {"type": "string", "title": "Urgency", "enum": ["low", "normal", "critical"], "default": "normal"}
_DELAY = {"type": "integer", "title": "Delay in minutes", "minimum": 0, "maximum": 60, "default": 1}
_NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
ACTIONS: list[dict[str, Any]] = [
    {"name": "ping", "title": "Ping", "arguments_schema": _NOTHING},
    {
        "name": "message",
        "title": "Show a message",
        "arguments_schema": {
            "type": "object",
            "properties": {"text": _TEXT, "urgency": _URGENCY, "sound": {"type": "boolean", "title": "Play a sound"}},
            "required": ["text"],
        },
    },
    {
        "name": "reboot",
        "title": "Reboot",
        "arguments_schema": {"type": "object", "properties": {"delay_minutes": _DELAY}},
    },
]
"""Actions that a machine of the tests allows."""

INFO = {
    "architecture": "x86_64",
    "cpu_model": "AMD EPYC 7313P",
    "cpu_count": 8,
    "memory_total_bytes": 16 * GIB,
    "swap_total_bytes": 2 * GIB,
    "disk_total_bytes": 200 * GIB,
    "python_version": "3.12.4",
    "metrics": [
        {"name": "cpu_percent", "unit": "percent", "title": "CPU"},
        {"name": "fan_rpm", "unit": "rpm", "title": "Fan speed"},
        {"name": "queue_bytes", "unit": "bytes", "title": "Print queue"},
    ],
}


class Fleet:
    """Writer of test data into an empty fleet database. `now`: milliseconds."""

    def __init__(self, engine: Engine, *, now: int = NOW) -> None:
        self.engine = engine
        self.now = now

    def org(self, name: str = "home") -> int:
        """Return the key of an organisation, and create it if there is none of this name."""
        with self.engine.begin() as connection:
            found = connection.execute(select(tables.org.c.id).where(tables.org.c.name == name)).scalar()
            if found is not None:
                return int(found)
            values = {"name": name, "config": {}, "created_at": self.now}
            return _key(connection.execute(insert(tables.org).values(values)))

    def dead_letter(self, machine: str, *, org: str = "home", payload: str = "{", **given: Any) -> int:  # noqa: ANN401 - columns of any type
        """Insert a rejected message; return its key."""
        values = {
            "received_at": self.now,
            "org": org,
            "machine": machine,
            "topic": f"dashfleet/v1/{org}/{machine}/up/telemetry",
            "reason": "not-json",
            "detail": "Invalid JSON",
            "size_bytes": len(payload.encode()),
            "payload_start": payload,
            **given,
        }
        with self.engine.begin() as connection:
            return _key(connection.execute(insert(tables.dead_letter).values(values)))

    def machine(self, name: str, *, org: str = "home", stated: bool = True, **given: Any) -> int:  # noqa: ANN401 - columns of any type
        """Insert a machine and its state, with these columns in place of the defaults; return its key."""
        org_id = self.org(org)
        machine = {
            "org_id": org_id,
            "name": name,
            "created_at": self.now,
            "hostname": name,
            "os": "Debian GNU/Linux",
            "os_version": "12",
            "agent_version": "0.1.0",
            "labels": {},
            "info": INFO,
        }
        machine.update({key: value for key, value in given.items() if key in tables.machine.c})
        with self.engine.begin() as connection:
            key = _key(connection.execute(insert(tables.machine).values(machine)))
            if stated:
                connection.execute(insert(tables.state).values(self.state(key, given)))
        return key

    def facts(self, machine_id: int, kind: str, items: Mapping[str, tuple[str | None, dict[str, Any]]]) -> None:
        """Insert a list with its items, each a health and fields."""
        values = {"session": 1, "stated_at": self.now, "known_at": self.now, "digest": "", "truncated": 0}
        mine = {"machine_id": machine_id, "kind": kind}
        with self.engine.begin() as connection:
            org_id = connection.scalar(select(tables.machine.c.org_id).where(tables.machine.c.id == machine_id))
            connection.execute(insert(tables.fact_list).values(**mine, **values))
            for place, (key, (health_, fields)) in enumerate(items.items()):
                row = {"key": key, "org_id": org_id, "health": health_, "rank": RANKS[health_], "fields": fields}
                since_at = self.now - place * MINUTE
                connection.execute(insert(tables.fact).values(**mine, **row, since_at=since_at))

    def incident(self, kind: str, *, org: str = "", ended_at: int | None = None, **details: Any) -> None:  # noqa: ANN401
        """Insert an incident that started a minute ago; without `org` of the whole system."""
        row = {"org_id": self.org(org) if org else None, "kind": kind, "started_at": self.now - 60_000}
        with self.engine.begin() as connection:
            connection.execute(insert(tables.incident).values(**row, ended_at=ended_at, details=details))

    def stream(self, machine_id: int, stored: str, *, highest_seq: int, **given: int) -> None:
        """Insert a stream with these stored sequence numbers."""
        counts = {"oldest_seq": highest_seq, "dropped": 0, "late": 0, "duplicate": 0, **given}
        row = {"machine_id": machine_id, "name": f"{highest_seq:016x}", "created_at": self.now, "stored": stored}
        row["number"] = highest_seq
        with self.engine.begin() as connection:
            connection.execute(insert(tables.stream).values(**row, highest_seq=highest_seq, **counts))

    def state(self, key: int, given: dict[str, Any]) -> dict[str, Any]:
        """Return the state row of a machine, with these columns in place of the defaults."""
        state: dict[str, Any] = {
            "machine_id": key,
            "presence": "online",
            "reason": "",
            "since_at": self.now - 3_600_000,
            "verified": True,
            "connected": True,
            "session": 1,
            "interval_seconds": 10.0,
            "last_seen_at": self.now - 2_000,
            "clock_offset_milliseconds": 0,
            "sampled_at": self.now - 2_000,
            "cpu_percent": 20.0,
            "memory_percent": 40.0,
            "memory_used_bytes": 6 * GIB,
            "disk_percent": 50.0,
            "disk_used_bytes": 100 * GIB,
            "swap_percent": 1.0,
            "uptime_seconds": 400_000,
            "load_1m": 0.42,
            "process_count": 212,
            "temperature_celsius": 51.0,
            "extra": {"fan_rpm": 1180.0, "queue_bytes": 52_000_000.0},
        }
        state.update({name: value for name, value in given.items() if name in tables.state.c})
        judged = health(state["cpu_percent"], state["memory_percent"], state["disk_percent"])
        return {"health_score": judged.score, "health_status": judged.status.value, **state}

    def set(self, machine_id: int, **values: Any) -> None:  # noqa: ANN401
        """Update the state of a machine."""
        with self.engine.begin() as connection:
            connection.execute(update(tables.state).where(tables.state.c.machine_id == machine_id).values(values))

    def samples(self, machine_id: int, times: list[int], **columns: Any) -> None:  # noqa: ANN401
        """Insert samples at these times; a column is a value, or a function of the index."""
        rows = []
        for i, at in enumerate(times):
            values = {name: value(i) if callable(value) else value for name, value in columns.items()}
            key = {"machine_id": machine_id, "sampled_at": at, "stream_number": 1, "seq": i + 1}
            rows.append({**key, "delay_milliseconds": 0, **values})
        with self.engine.begin() as connection:
            connection.execute(insert(tables.sample), rows)
            RollupMarks(self.engine).write(connection, [self._arrived(row) for row in rows])

    def _arrived(self, row: dict[str, Any]) -> Arrived:
        sample = Sample(seq=row["seq"], sampled_at=row["sampled_at"], vitals=Vitals())
        machine, stream = Machine(row["machine_id"], "", ""), Stream("", row["stream_number"], created_at=0)
        return Arrived(machine, stream, sample, row["sampled_at"], row.get("clock_offset_milliseconds", 0))

    def a_day(self, machine_id: int, *, hours: int = 48, gap: tuple[float, float] | None = (2.0, 2.6)) -> None:
        """Insert `hours` of realistic samples, with a gap between two ages in hours."""
        count = hours * 360
        times = [self.now - (count - i) * 10_000 for i in range(count)]
        if gap:
            times = [at for at in times if not gap[0] < (self.now - at) / 3_600_000 < gap[1]]
        self.samples(
            machine_id,
            times,
            cpu_percent=lambda i: 30 + 22 * math.sin(i / 400) + 9 * math.sin(i / 17) + (i * 7919 % 100) / 14,
            memory_percent=lambda i: 52 + 9 * math.sin(i / 2000),
            disk_percent=lambda i: 48 + i / 2000,
            load_1m=lambda i: 0.8 + 0.6 * math.sin(i / 400),
            process_count=lambda i: 200 + i % 17,
            temperature_celsius=lambda i: 48 + 6 * math.sin(i / 400),
            swap_percent=1.0,
            network_received_bytes=lambda i: i * 2_400_000 + int(9e7 * (1 + math.sin(i / 90))),
            network_sent_bytes=lambda i: i * 400_000,
            extra=lambda i: {"fan_rpm": 1100 + 90 * math.sin(i / 300), "queue_bytes": 4e7 + (i % 1000) * 5e4},
        )

    def series(self, machine_id: int, minutes: int = 60) -> None:
        """Give a machine readings of many devices, one a minute until now; its `info` has to describe them."""
        devices = Devices(machine_id)
        self.series_of(machine_id, [devices.read() for _ in range(minutes)])

    def series_of(self, machine_id: int, readings: Sequence[Mapping[str, Mapping[str, float | None]]]) -> None:
        """Insert these readings by metric and device, one sample a minute until a minute ago."""
        rows = [
            {
                "machine_id": machine_id,
                "at": self.now - MINUTE * (len(readings) - number),
                "stream_number": 1,
                "seq": number,
                "readings": json.dumps(each),
            }
            for number, each in enumerate(readings)
        ]
        with self.engine.begin() as connection:
            connection.execute(insert(tables.series_sample), rows)

    def minutes(self, machine_id: int, cpu: Sequence[float | None]) -> None:
        """Insert the last whole minutes with these CPU percentages, oldest first; no row for None."""
        base: dict[str, Any] = {column.name: 0 for column in tables.minute.c if column.name.endswith("_count")}
        start = (self.now // MINUTE - len(cpu)) * MINUTE
        rows = [
            {
                **base,
                "machine_id": machine_id,
                "at": start + i * MINUTE,
                "samples": 6,
                "sampled_from": 0,
                "sampled_to": 0,
            }
            | {
                "cpu_percent_count": 6,
                "cpu_percent_min": percent,
                "cpu_percent_avg": percent,
                "cpu_percent_max": percent,
            }
            for i, percent in enumerate(cpu)
            if percent is not None
        ]
        with self.engine.begin() as connection:
            connection.execute(insert(tables.minute), rows)

    def hours(self, machine_id: int, count: int, *, gap: range = range(0)) -> None:
        """Insert `count` realistic hours up to now, except those whose age is in the gap."""
        base: dict[str, Any] = {column.name: 0 for column in tables.hour.c if column.name.endswith("_count")}
        rows = []
        for age in sorted(set(range(count)) - set(gap)):
            average = 40 + 15 * math.sin(age / 9)
            row: dict[str, Any] = {
                **base,
                "machine_id": machine_id,
                "at": self.now // HOUR * HOUR - age * HOUR,
                "samples": 360,
            }
            row |= {"cpu_percent_count": 360, "cpu_percent_min": average - 20}
            row |= {"cpu_percent_avg": average, "cpu_percent_max": average + 30 + 10 * math.sin(age / 5)}
            rows.append({**row, "extra": {"fan_rpm": [360, 900.0, 1100 + average, 1500.0]}})
        with self.engine.begin() as connection:
            connection.execute(insert(tables.hour), rows)

    def forecast(self, machine_id: int, full_at: int | None, outlook: str = "full") -> None:
        """Insert the forecast of a machine's disk."""
        row = {"machine_id": machine_id, "full_at": full_at, "outlook": outlook, "made_at": self.now}
        with self.engine.begin() as connection:
            connection.execute(insert(tables.disk_forecast).values(row))

    def transition(self, machine_id: int, at: int, before: str, after: str, reason: str) -> None:
        """Insert a presence transition."""
        row = {"machine_id": machine_id, "at": at, "before": before, "after": after, "reason": reason, "session": 1}
        with self.engine.begin() as connection:
            connection.execute(insert(tables.transition).values(row))

    def alert(self, machine_id: int, rule: str, started_at: int, *, ended_at: int | None = None, **given: Any) -> None:  # noqa: ANN401
        """Insert an alert."""
        row = {"rule": rule, "title": rule, "severity": "warning", "detail": "", **given}
        with self.engine.begin() as connection:
            row |= {"machine_id": machine_id, "started_at": started_at, "ended_at": ended_at}
            connection.execute(insert(tables.alert).values(**row))

    def beat(self, at: int, *, broker_connected: bool = True) -> None:
        """Replace the heartbeat of the ingestor."""
        with self.engine.begin() as connection:
            connection.execute(tables.ingestor.delete())
            row = {"name": "a", "started_at": at, "beat_at": at, "broker_connected": broker_connected, "counters": {}}
            connection.execute(insert(tables.ingestor).values(row))

    def crowd(self, count: int, **given: Any) -> list[int]:  # noqa: ANN401
        """Insert machines that differ in load and label; return their keys."""
        return [
            self.machine(
                f"web-{i:03}",
                hostname=f"web-{i:03}.example.org",
                cpu_percent=5.0 + i * 37 % 61,
                memory_percent=20.0 + i * 53 % 50,
                disk_percent=15.0 + i * 29 % 55,
                uptime_seconds=86_400 + i * 7_777,
                labels={"site": "paris" if i % 2 else "lyon"},
                **given,
            )
            for i in range(count)
        ]


def _key(inserted: CursorResult[Any]) -> int:
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])
