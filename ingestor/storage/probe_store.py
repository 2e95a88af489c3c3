"""The stored results of reachability probes: facts of the kind `probes`, whose keys are targets."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, select
from sqlalchemy.engine import Connection

from schemas.contract.facts import RANKS
from schemas.database.tables import fact, machine, org

KIND: Final = "probes"
TARGETS_MAX: Final = 200
"""Targets of one organisation that are judged at a time."""

VERDICTS_MAX: Final = 50_000
_CHUNK: Final = 500


def read_failing(engine: Engine, orgs: Collection[str]) -> dict[str, set[str]]:
    """Return the targets that a machine of an organisation cannot reach, by organisation, at most TARGETS_MAX each."""
    found: dict[str, set[str]] = {}
    with engine.connect() as connection:
        ids = _ids(connection, orgs)
        worst = (fact.c.org_id.in_(ids), fact.c.kind == KIND, fact.c.rank == RANKS["critical"])
        query = select(fact.c.org_id, fact.c.key, fact.c.fields).where(*worst).order_by(fact.c.key)
        for row in connection.execute(query.limit(VERDICTS_MAX)):
            targets = found.setdefault(ids[row.org_id], set())
            if row.fields.get("reachable") is False and len(targets) < TARGETS_MAX:
                targets.add(row.key)
    return found


def read_verdicts(engine: Engine, targets: Mapping[str, Collection[str]]) -> dict[tuple[str, str], list[Row[Any]]]:
    """Return the results of all machines by organisation and target: name, health and fields."""
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    with engine.connect() as connection:
        ids = _ids(connection, targets.keys())
        for id_, name in ids.items():
            keys = sorted(targets[name])
            for first in range(0, len(keys), _CHUNK):
                columns = (machine.c.name, fact.c.key, fact.c.health, fact.c.fields)
                mine = (fact.c.org_id == id_, fact.c.kind == KIND, fact.c.key.in_(keys[first : first + _CHUNK]))
                query: Select[Any] = select(*columns).join_from(fact, machine).where(*mine).limit(VERDICTS_MAX)
                for row in connection.execute(query):
                    found.setdefault((name, row.key), []).append(row)
    return found


def _ids(connection: Connection, orgs: Collection[str]) -> dict[int, str]:
    if not orgs:
        return {}
    rows = connection.execute(select(org.c.id, org.c.name).where(org.c.name.in_(sorted(orgs))))
    return {row.id: row.name for row in rows}
