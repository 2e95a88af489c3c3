"""The newest values of an organisation's machines for Prometheus, as text of the exposition format 0.0.4.

Invariants:
- A reading is exported only while it is current: the values of a machine that is offline or not verified vanish, and
  those of a retired machine with all else.
- Names of metrics are fixed; what a machine calls its own metrics and labels is in the values and names of labels,
  which it cannot break out of.
- Every line has the labels `org` and `machine`, and the labels of the machine, prefixed with `label_`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dashboard.api.answer import Asked, respond
from dashboard.api.application import Endpoint, Gate
from dashboard.api.operation import ApiRequest
from dashboard.auth.middleware import MACHINE_METRICS
from schemas.contract.messages import VITALS
from schemas.database.paged.machine_pages import list_machine_page
from schemas.database.paged.problem_pages import count_open_alerts
from schemas.database.queries.heartbeat import find_trouble
from schemas.database.queries.history import COUNTERS
from schemas.database.queries.machines import Filters

MACHINES_MAX: Final = 100_000
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "dashfleet_machine_"
HELP: Final[Mapping[str, str]] = {
    "cpu_percent": "CPU usage over all cores, in percent",
    "memory_percent": "Memory used, in percent",
    "memory_used_bytes": "Memory used, in bytes",
    "disk_percent": "Usage of the disk, in percent",
    "disk_used_bytes": "Space used on the disk, in bytes",
    "swap_percent": "Swap used, in percent",
    "uptime_seconds": "Time since the boot, in seconds",
    "load_1m": "Load average over one minute",
    "network_received_bytes": "Bytes received since the boot by the interfaces of real devices",
    "network_sent_bytes": "Bytes sent since the boot by the interfaces of real devices",
    "process_count": "Number of processes",
    "temperature_celsius": "Highest temperature of the processor, in degrees Celsius",
}
"""The help of each vital."""

_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_SEVERITIES: Final = ("warning", "critical")


def routes(gate: Gate) -> list[BaseRoute]:
    """Return the route to mount in front of Streamlit."""
    return [Route(MACHINE_METRICS, Endpoint(gate, _answer))]


def _answer(request: ApiRequest, asked: Request) -> Response:
    return respond("".join(exposition(request)).encode("utf-8", "replace"), MEDIA_TYPE, Asked.of(asked.headers))


@dataclass(frozen=True, slots=True)
class _Scraped:
    """A machine, and the labels of its lines as text. `current`: its readings are exported."""

    row: Row[Any]
    labels: str
    current: bool


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """A metric: name, type and help of its lines, and the values of a machine with their additional labels."""

    name: str
    kind: str
    help: str
    values: Callable[[_Scraped], Iterable[tuple[str, float | None]]]


def exposition(request: ApiRequest) -> Iterator[str]:
    """Yield the lines of the organisation's machines."""
    trouble = find_trouble(request.engine, now=request.now)
    org = _label("org", request.org)
    yield from _head("dashfleet_server_receiving", "gauge", "1 while an ingestor is connected and commits")
    yield f"dashfleet_server_receiving{{{org}}} {int(not trouble)}\n"
    rows = list_machine_page(request.engine, request.org, Filters(), after="", limit=MACHINES_MAX)
    found = [_Scraped(row, _labels(org, row), bool(row.current) and not trouble) for row in rows]
    for family in (*FAMILIES, _open_alerts(request)):
        yield from _head(family.name, family.kind, family.help)
        for each in found:
            for more, value in family.values(each):
                if value is not None:
                    yield f"{family.name}{{{each.labels}{more}}} {value}\n"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"


def _labels(org: str, row: Row[Any]) -> str:
    labels = (_label(f"label_{_NOT_IN_A_NAME.sub('_', key)}", str(each)) for key, each in (row.labels or {}).items())
    return ",".join((org, _label("machine", row.name), *labels))


def _label(name: str, value: str) -> str:
    return f'{name}="{value.translate(_ESCAPES)}"'


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _vital(name: str) -> MetricFamily:
    counts = name in COUNTERS
    whole, kind = f"{PREFIX}{name}{'_total' if counts else ''}", "counter" if counts else "gauge"
    return MetricFamily(whole, kind, HELP[name], lambda each: [("", getattr(each.row, name) if each.current else None)])


def _info(each: _Scraped) -> list[tuple[str, float | None]]:
    names = ("hostname", "os", "os_version", "agent_version")
    return [("".join(f",{_label(name, getattr(each.row, name) or '')}" for name in names), 1)]


def _extra(each: _Scraped) -> list[tuple[str, float | None]]:
    found = each.row.extra or {} if each.current else {}
    return [(f",{_label('metric', name)}", value) for name, value in found.items()]


def _open_alerts(request: ApiRequest) -> MetricFamily:
    counts = count_open_alerts(request.engine, request.org)

    def values(each: _Scraped) -> list[tuple[str, float | None]]:
        return [(f",{_label('severity', name)}", counts.get((each.row.name, name), 0)) for name in _SEVERITIES]

    return MetricFamily(OPEN_ALERTS, "gauge", "Number of open alerts, by severity", values)


OPEN_ALERTS: Final = f"{PREFIX}open_alerts"
FAMILIES: Final = (
    MetricFamily(
        f"{PREFIX}up",
        "gauge",
        "1 while the machine is online and verified, so that its readings are current",
        lambda each: [("", int(each.current))],
    ),
    MetricFamily(
        f"{PREFIX}presence",
        "gauge",
        "1 for the presence of the machine: online, stale, offline, expired or unknown",
        lambda each: [(f",{_label('presence', each.row.presence)}", 1)],
    ),
    MetricFamily(f"{PREFIX}info", "gauge", "1, with hostname, system and versions as labels", _info),
    MetricFamily(
        f"{PREFIX}last_seen_timestamp_seconds",
        "gauge",
        "Time of the last live message, since 1970 in seconds",
        lambda each: [("", _seconds(each.row.last_seen_at))],
    ),
    MetricFamily(
        f"{PREFIX}health_score",
        "gauge",
        "Health score, 0 to 100",
        lambda each: [("", each.row.health_score if each.current else None)],
    ),
    MetricFamily(
        f"{PREFIX}disk_full_timestamp_seconds",
        "gauge",
        "Time at which the disk is expected to be full, since 1970 in seconds",
        lambda each: [("", _seconds(each.row.full_at) if each.current else None)],
    ),
    *map(_vital, VITALS),
    MetricFamily(f"{PREFIX}extra", "gauge", "Extra metrics of the machine, by their name in the label metric", _extra),
)
"""The metrics of each machine, but for its alerts, which are counted by a query of their own."""
