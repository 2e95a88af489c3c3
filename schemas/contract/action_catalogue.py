"""Which actions machines allow, as they said in their `Info`: one's own, and what several have in common.

Invariants:
- What a machine said is read one action at a time: a description that cannot be read hides only itself.
- Nothing here permits anything. A machine decides by its own allow-list when the order arrives.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from schemas.contract.messages import ACTIONS_MAX, ActionDescription

DISRUPTIVE = frozenset(("reboot",))
"""Actions that end what a machine is doing; whoever wants them says so twice."""

Actions = Mapping[str, ActionDescription]


@dataclass(frozen=True, slots=True)
class Target:
    """A machine that something may be asked of. `keys` are the ids of the keys whose orders it obeys."""

    name: str
    hostname: str
    presence: str
    actions: Actions
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """An action that at least one of some machines allows: how each describes it, and the names of those without."""

    name: str
    title: str
    schemas: tuple[Mapping[str, Any], ...]
    missing: tuple[str, ...]


def read_actions(described: Any) -> Actions:  # noqa: ANN401 - the list as a machine sent it
    """The actions in a machine's `Info.actions`, by name."""
    found: dict[str, ActionDescription] = {}
    for entry in described[:ACTIONS_MAX] if isinstance(described, list) else ():
        try:
            action = ActionDescription.model_validate(entry)
        except ValidationError:
            continue
        found.setdefault(action.name, action)
    return found


def list_offers(targets: Sequence[Target]) -> list[Offer]:
    """Every action that one of the machines allows, those first that all do, then by title."""
    names = sorted({name for target in targets for name in target.actions})
    found = [_offer(name, targets) for name in names]
    return sorted(found, key=lambda offer: (len(offer.missing), offer.title.lower()))


def _offer(name: str, targets: Sequence[Target]) -> Offer:
    described = [target.actions[name] for target in targets if name in target.actions]
    schemas: list[Mapping[str, Any]] = []
    for action in described:
        if action.arguments_schema not in schemas:
            schemas.append(action.arguments_schema)
    missing = tuple(target.name for target in targets if name not in target.actions)
    return Offer(name, described[0].title, tuple(schemas), missing)


def make_target(name: str, *, hostname: str | None, presence: str, actions: str | None, keys: str | None) -> Target:
    """A machine as the database has it: `actions` and `keys` are JSON texts, as it sent them."""
    return Target(name, hostname or name, presence, _actions_of(actions), _keys_of(keys))


@lru_cache(maxsize=256)
def _actions_of(text: str | None) -> Actions:
    """`actions` of a JSON text; machines of one version all send the same one."""
    return read_actions(_decoded(text))


@lru_cache(maxsize=256)
def _keys_of(text: str | None) -> tuple[str, ...]:
    found = _decoded(text)
    return tuple(key for key in found if isinstance(key, str)) if isinstance(found, list) else ()


def _decoded(text: str | None) -> Any:  # noqa: ANN401 - whatever a machine sent
    try:
        return json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
