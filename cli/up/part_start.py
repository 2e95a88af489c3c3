"""The last step of a command that runs a part: what runs once its settings are known.

`dashfleet up` reads the settings of all parts itself, in `captured`, so that their processes need not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from runtime.settings.part_settings import PartSettings

S = TypeVar("S", bound="PartSettings")

_captures: list[list[Callable[[], None]]] = []


def start_part(settings: S, run: Callable[[S], None]) -> None:
    """Run a part with its settings, now, or when who is capturing decides so."""
    if _captures:
        _captures[-1].append(lambda: run(settings))
    else:
        run(settings)


@contextmanager
def captured() -> Iterator[list[Callable[[], None]]]:
    """Within this context, parts that would be started are appended to the list instead."""
    found: list[Callable[[], None]] = []
    _captures.append(found)
    try:
        yield found
    finally:
        _captures.pop()
