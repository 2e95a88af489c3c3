"""A machine as the API shows it, in the list and alone."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import Row

from dashboard.api.operation import ApiModel
from schemas.contract.messages import VITALS, Vitals
from schemas.database.paged.machine_pages import MACHINE_COLUMNS

PresenceName = Literal["unknown", "online", "stale", "offline", "expired", "retired"]
HealthName = Literal["ok", "warn", "critical", "unknown"]


class ApiHealth(ApiModel):
    """Health of a machine: `score` is null and `status` unknown unless the machine's values are current."""

    score: Annotated[int, Field(ge=0, le=100)] | None
    status: HealthName


class ApiMachine(ApiModel):
    """A machine and its newest values.

    `current`: the machine is online and verified, so that its vitals are those of now; otherwise they are those of the
    time `as_of`. `since` is the time of the last change of presence. `disk_full_at` is when the disk is expected to be
    full.
    """

    machine: str
    hostname: str | None
    os: str | None
    os_version: str | None
    agent_version: str | None
    labels: dict[str, str]
    presence: PresenceName
    reason: str
    since: int | None
    verified: bool
    last_seen: int | None
    current: bool
    as_of: int | None
    health: ApiHealth
    interval_seconds: float | None
    clock_offset_milliseconds: int | None
    disk_full_at: int | None
    vitals: Vitals
    extra: dict[str, float | None]


def machine_fields(row: Row[Any], trouble: str) -> dict[str, Any]:
    """Return the fields of ApiMachine as plain values. While there is `trouble` nothing is verified or current.

    A list has 10,000 of them: models would take longer than the query.
    """
    known, sure = dict(zip(MACHINE_COLUMNS, row, strict=False)), not trouble
    return {
        **{name: known[name] for name in _PLAIN},
        "machine": known["name"],
        "labels": known["labels"] or {},
        "reason": known["reason"] or "",
        "since": known["since_at"],
        "verified": known["verified"] is not False and sure,
        "last_seen": known["last_seen_at"],
        "current": bool(known["current"]) and sure,
        "health": {"score": known["health_score"], "status": known["health_status"]} if sure else _UNKNOWN,
        "disk_full_at": known["full_at"],
        "vitals": {name: known[name] for name in VITALS},
        "extra": known["extra"] or {},
    }


_PLAIN: Final = (
    *("hostname", "os", "os_version", "agent_version", "presence", "as_of"),
    *("interval_seconds", "clock_offset_milliseconds"),
)
_UNKNOWN: Final = {"score": None, "status": "unknown"}
