"""Plug-ins: found in the modules of a package and among the entry points of installed distributions.

Invariants:
- Loading a plug-in runs foreign code: one that cannot be loaded is logged and skipped, and costs no other.
- A package is searched with its sub-packages.
- Names are unique. A plug-in of the package wins over an entry point of the same name, and the earlier over the later;
  a warning names the one that is ignored.
"""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


def discover(
    package: ModuleType,
    group: str,
    *,
    accepts: Callable[[Any], bool],
    name: Callable[[Any], str],
    source: Callable[[Any], Any],
) -> dict[str, Any]:
    """Return plug-ins by name: those of the package by module, then those of the entry points in `group` by name.

    `accepts` tells a plug-in from any other object; `source` returns the class or function that it was made of: a
    module contributes only what was defined in it, not what it imports.
    """
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, value in (*_from_package(package, accepts, source), *_from_entry_points(group, accepts)):
        key = name(value)
        first = origins.setdefault(key, origin)
        if found.setdefault(key, value) is not value:
            log.warning("%s is ignored: %s has a plug-in of the same name, %s", origin, first, key)
    return found


def preload(package: ModuleType) -> None:
    """Import the modules of a package, so that a process forked later need not; one that cannot be is left to it."""
    for entry in pkgutil.iter_modules(package.__path__):
        with suppress(Exception):
            importlib.import_module(f"{package.__name__}.{entry.name}")


def _from_package(
    package: ModuleType, accepts: Callable[[Any], bool], source: Callable[[Any], Any]
) -> Iterator[tuple[str, Any]]:
    for entry in sorted(pkgutil.iter_modules(package.__path__), key=lambda entry: entry.name):
        origin = f"{package.__name__}.{entry.name}"
        module = _loaded(origin, lambda origin=origin: importlib.import_module(origin))  # type: ignore[misc]
        if entry.ispkg and module is not None:
            yield from _from_package(module, accepts, source)
        for _, value in inspect.getmembers(module, accepts) if module else ():
            if source(value).__module__ == origin:
                yield origin, value


def _from_entry_points(group: str, accepts: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
    listed: Any = _loaded(f"the list of entry points {group}", lambda: entry_points(group=group))
    for entry in sorted(listed or (), key=lambda entry: (entry.name, entry.value)):
        origin = _described(entry)
        value = _loaded(origin, entry.load)
        if value is not None and not accepts(value):
            log.warning("%s is ignored: it is not a plug-in of this group", origin)
        elif value is not None:
            yield origin, value


def _described(entry: EntryPoint) -> str:
    distribution = entry.dist.name if entry.dist else "an unknown distribution"
    return f"entry point {entry.name} = {entry.value} of {distribution} ({entry.group})"


def _loaded(origin: str, load: Callable[[], T]) -> T | None:
    try:
        return load()
    except Exception:  # one of the named places: loading a plug-in runs foreign code
        log.exception("cannot load %s", origin)
        return None
