"""Targets of an action: machines with the actions they allow and the keys they obey."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Row, Text, cast

from schemas.actions.action_catalogue import Target, make_target
from schemas.database.queries.fetch import fetch_all, fetch_where_in
from schemas.database.queries.fleet_order import PRESENCE_NOW, RETIRED
from schemas.database.queries.machines import select_machines
from schemas.database.tables import machine

_ACTIONS = cast(machine.c.info["actions"], Text).label("its_actions")
"""As JSON text: most machines of a fleet send the same one, which is then decoded once."""

_KEYS = cast(machine.c.info["keys"], Text).label("its_keys")


def find_targets(
    engine: Engine,
    org_name: str,
    *,
    names: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    presence: str | None = None,
) -> dict[str, Target]:
    """Return the machines that meet every given condition, by name in alphabetical order; never a retired one."""
    columns = (machine.c.name, machine.c.hostname, machine.c.labels, PRESENCE_NOW.label("presence"), _ACTIONS, _KEYS)
    query = select_machines(org_name, *columns).where(PRESENCE_NOW != RETIRED)
    if presence is not None:
        query = query.where(PRESENCE_NOW.in_([presence]))
    rows = fetch_all(engine, query) if names is None else fetch_where_in(engine, query, machine.c.name, names)
    found = (row for row in rows if (labels or {}).items() <= (row.labels or {}).items())
    return {row.name: _target(row) for row in sorted(found, key=lambda row: str(row.name))}


def list_configurations(engine: Engine, org_name: str, names: Sequence[str]) -> list[Row[Any]]:
    """Return labels, desired configuration and allowed actions of these machines, from which to make another one."""
    query = select_machines(org_name, machine.c.name, machine.c.labels, machine.c.desired, _ACTIONS)
    return fetch_where_in(engine, query.order_by(machine.c.name), machine.c.name, names)


def list_action_titles(engine: Engine, org_name: str, names: Sequence[str]) -> dict[str, str]:
    """Return the titles that these machines give to the actions they allow, by action."""
    query = select_machines(org_name, machine.c.name, _ACTIONS).order_by(machine.c.name)
    found = [
        make_target(row.name, hostname=None, presence="", actions=row.its_actions, keys=None)
        for row in fetch_where_in(engine, query, machine.c.name, sorted(set(names)))
    ]
    return {name: action.title for target in found for name, action in target.actions.items()}


def _target(row: Row[Any]) -> Target:
    return make_target(
        row.name,
        hostname=row.hostname,
        presence=row.presence,
        actions=row.its_actions,
        keys=row.its_keys,
        labels=row.labels,
    )
