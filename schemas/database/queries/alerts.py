"""Open and ended alerts of one machine, and for the command line; silences. See `problems` for an organisation."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.silence_rows import read_silence
from schemas.database.tables import alert, alert_rule, machine, org, silence
from schemas.fleet.silences import Silence


@dataclass(frozen=True, slots=True)
class OrgSilence:
    """A silence and the organisation that it belongs to."""

    org: str
    silence: Silence


def list_alerts(
    engine: Engine,
    *,
    org_name: str | None = None,
    machine_name: str | None = None,
    rule: str | None = None,
    severity: str | None = None,
    over: bool = False,
    unattended: bool = False,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return open alerts (`over`: also ended ones), newest first, as `dashfleet alerts --json` documents them.

    `unattended`: only those that are neither acknowledged nor silenced.
    """
    query = _alerts().order_by(alert.c.started_at.desc(), alert.c.id.desc()).limit(limit)
    query = query if over else query.where(alert.c.ended_at.is_(None))
    filters = (
        (org.c.name, org_name),
        (machine.c.name, machine_name),
        (alert.c.rule, rule),
        (alert.c.severity, severity),
    )
    for column, wanted in filters:
        query = query if wanted is None else query.where(column == wanted)
    if unattended:
        query = query.where(alert.c.acknowledged_at.is_(None), alert.c.silenced_until.is_(None))
    return [{name: getattr(row, name) for name in _LISTED} for row in fetch_all(engine, query)]


def list_silences(engine: Engine, org_name: str | None = None, *, limit: int = 1000) -> list[OrgSilence]:
    """Return the silences of an organisation or of all, newest first."""
    query = select(silence, org.c.name.label("org")).join_from(silence, org).order_by(silence.c.id.desc()).limit(limit)
    rows = fetch_all(engine, query if org_name is None else query.where(org.c.name == org_name))
    return [OrgSilence(row.org, found) for row in rows if (found := read_silence(row)) is not None]


def list_rule_titles(engine: Engine, org_name: str) -> dict[str, str]:
    """Return the title of each rule of an organisation, by its name."""
    query = select(alert_rule.c.name, alert_rule.c.title).join_from(alert_rule, org).where(org.c.name == org_name)
    return {row.name: row.title for row in fetch_all(engine, query.order_by(alert_rule.c.title))}


_LISTED = (
    *("id", "org", "machine", "rule", "title", "severity", "detail", "value", "unit", "started_at", "ended_at"),
    *(
        "past",
        "withdrawn",
        "acknowledged_at",
        "acknowledged_by",
        "acknowledged_comment",
        "silenced_until",
        "silence_reason",
    ),
)


def _alerts(*conditions: ColumnElement[bool]) -> Select[Any]:
    names = (machine.c.name, machine.c.hostname, machine.c.name.label("machine"), org.c.name.label("org"))
    return select(alert, *names).select_from(alert.join(machine).join(org)).where(*conditions)
