"""The contract of an operation of the HTTP API: one file in `resources/` that exposes `OPERATION`.

OPERATION = Operation(id="listAlerts", path="/alerts", summary="…", parameters=AlertParameters, answer=ApiAlerts,
                      read=read)

def read(request: ApiRequest, parameters: AlertParameters) -> ApiAlerts: ...

Invariants:
- `read` queries no organisation but that of the request, whatever the parameters say.
- An answer has the names and units of the contract: times are integer milliseconds UTC, a name ends in its unit, and
  null means that a value is unknown.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine

from dashboard.api.parameters import Parameters
from dashboard.auth.user_administration import UserAdministration
from dashboard.auth.users import UserRole


class ApiModel(BaseModel):
    """Base of answers and their parts. Clients ignore fields that they do not know: later versions add some."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An authenticated request. `engine` is read-only and has a time limit, `now` is in milliseconds.

    `token` is the key of its token. `names`: the values of the placeholders in the path, each an id of the contract or
    another word without a slash.
    """

    engine: Engine
    users: UserAdministration
    org: str
    token: int
    role: UserRole
    now: int
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: GET below /api/v1. `answer` describes the response, `parameters` the query.

    `read` returns the answer, or its fields as plain values.
    """

    id: str
    path: str
    summary: str
    parameters: type[Parameters]
    answer: type[ApiModel]
    read: Callable[[ApiRequest, Any], ApiModel | Mapping[str, Any]]


def discover(package: ModuleType) -> tuple[Operation, ...]:
    """Return the operations of a package, sorted by path."""
    names = (f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__))
    return tuple(sorted((importlib.import_module(name).OPERATION for name in names), key=lambda each: each.path))
