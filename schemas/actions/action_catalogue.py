"""The actions that machines allow according to their `Info`, for one machine and for a selection.

Invariants:
- An action description that cannot be decoded hides only itself.
- Nothing here grants anything: a machine checks its own allow-list when an order arrives.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from schemas.contract.messages import ACTIONS_MAX, ActionDescription

DISRUPTIVE = frozenset(("reboot",))
"""Actions that interrupt what a machine is doing and need an extra confirmation."""

DANGEROUS = DISRUPTIVE | {"run", "move"}
"""Actions that a confirmation presents as dangerous, and that need the extra one for several machines."""

PACED = DANGEROUS | {"restart", "update", "push"}
"""Actions that many machines run at a pace by default."""

Actions = Mapping[str, ActionDescription]


@dataclass(frozen=True, slots=True)
class Target:
    """A machine as the target of an action. `keys` are the ids of the keys whose orders it obeys."""

    name: str
    hostname: str
    presence: str
    actions: Actions
    keys: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_online(self) -> bool:
        """Whether the machine can receive an order now."""
        return self.presence == "online"


@dataclass(frozen=True, slots=True)
class Offer:
    """An action that some machines of a selection allow: the distinct argument schemas, and the names of the others."""

    name: str
    title: str
    schemas: tuple[Mapping[str, Any], ...]
    missing: tuple[str, ...]


def read_actions(described: Any) -> Actions:  # noqa: ANN401 - JSON from a machine
    """Return the actions in a machine's `Info.actions`, by name."""
    found: dict[str, ActionDescription] = {}
    for entry in described[:ACTIONS_MAX] if isinstance(described, list) else ():
        try:
            action = ActionDescription.model_validate(entry)
        except ValidationError:
            continue
        found.setdefault(action.name, action)
    return found


def list_offers(targets: Sequence[Target]) -> list[Offer]:
    """Return the actions that any of the machines allows, the most common first, then by title."""
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


def make_target(
    name: str,
    *,
    hostname: str | None,
    presence: str,
    actions: str | None,
    keys: str | None,
    labels: Mapping[str, str] | None = None,
) -> Target:
    """Return the target for a stored machine; `actions` and `keys` are JSON as the machine sent it."""
    return Target(name, hostname or name, presence, _actions_of(actions), _keys_of(keys), labels or {})


@lru_cache(maxsize=256)
def _actions_of(text: str | None) -> Actions:
    """Cached, as all machines of one version send the same text."""
    return read_actions(_decoded(text))


@lru_cache(maxsize=256)
def _keys_of(text: str | None) -> tuple[str, ...]:
    found = _decoded(text)
    return tuple(key for key in found if isinstance(key, str)) if isinstance(found, list) else ()


def _decoded(text: str | None) -> Any:  # noqa: ANN401 - JSON from a machine
    try:
        return json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
