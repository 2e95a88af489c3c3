"""The contract of a drill: a fault with a name. A file below `cli/drill/drills/` with a `DRILL` adds one."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.drill.site import DrillSite


def _wait(site: "DrillSite") -> None:
    """Let the faults of the simulated machines happen."""
    site.wait(3 * site.seconds)


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault. `title`: a sentence that says what happens. `strike`: makes it happen and ends it.

    `faults`: those of the simulated machines, as `dashfleet simulate --fault` takes them.
    """

    name: str
    title: str
    strike: "Callable[[DrillSite], None]" = _wait
    faults: tuple[str, ...] = ()


def all_drills() -> Mapping[str, Drill]:
    """Return every drill by its name."""
    package = importlib.import_module(f"{__package__}.drills")
    found: list[Drill] = [
        importlib.import_module(f"{package.__name__}.{each.name}").DRILL
        for each in pkgutil.iter_modules(package.__path__)
    ]
    return {drill.name: drill for drill in sorted(found, key=lambda drill: drill.name)}
