"""Diagnosis of the agent on this machine: all checks, for `dashfleet agent doctor`."""

import importlib
import pkgutil
from collections.abc import Iterator

from agent import checks
from agent.check import CheckFunction, Examination, Finding


def examine(examination: Examination) -> list[Finding]:
    """Run all checks in their order."""
    return [function(examination) for function in sorted(find_checks(), key=lambda each: each.order)]  # type: ignore[attr-defined]


def find_checks() -> Iterator[CheckFunction]:
    """Yield the functions marked as checks in the modules of `agent.checks`."""
    for module in pkgutil.iter_modules(checks.__path__):
        found = importlib.import_module(f"{checks.__name__}.{module.name}")
        yield from (value for value in vars(found).values() if callable(value) and hasattr(value, "order"))
