"""The contract of a page: one file in `pages/` that exposes `PAGE` and `show`. Nothing else is edited to add one.

PAGE = Page(title=marked("Fleet"), path="fleet", icon=":material/grid_view:", order=0)

def show(context: Context) -> None: ...
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cache
from types import ModuleType
from typing import Any

from sqlalchemy import Engine

from dashboard.auth.accounts import PersonRole
from dashboard.auth.people import People
from dashboard.i18n.language import Marked, marked
from dashboard.page.install_command import Entrance
from dashboard.publishing.publisher import MAY_ACT, MAY_ADMINISTER, Publisher

EVERYONE = frozenset(PersonRole)
ROLES: Mapping[str, Marked] = {
    PersonRole.VIEWER: marked("Viewer"),
    PersonRole.OPERATOR: marked("Operator"),
    PersonRole.ADMIN: marked("Admin"),
}
"""What people call a role."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its name in the menu, its path in the address, and who may see it. The lowest order is the first page."""

    title: Marked | str
    path: str
    icon: str
    order: int = 100
    roles: frozenset[PersonRole] = EVERYONE
    in_menu: bool = True


@dataclass(frozen=True, slots=True)
class PageContext:
    """What a page gets. `org` comes from the session; a page asks for no other organisation's data.

    `arrived`: the visitor comes from another page, or from nowhere. `pages` leads to the others, by path. `publisher`
    is what a page acts with, `entrance` where machines connect, `people` who may sign in, for admins.
    """

    engine: Engine
    org: str
    user: str
    role: PersonRole
    zone: tzinfo
    refresh_seconds: float
    now: Callable[[], int]
    arrived: bool = True
    pages: Mapping[str, Any] = field(default_factory=dict)
    publisher: Publisher | None = None
    entrance: Entrance = field(default_factory=Entrance)
    people: People | None = None

    @property
    def may_act(self) -> bool:
        """Whether this visitor may have machines do something."""
        return self.role in MAY_ACT and self.publisher is not None

    @property
    def may_administer(self) -> bool:
        """Whether this visitor may change the organisation."""
        return self.role in MAY_ADMINISTER and self.publisher is not None


Show = Callable[[PageContext], None]


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Import and return the modules of a package of plug-ins."""
    found = pkgutil.iter_modules(package.__path__)
    return [importlib.import_module(f"{package.__name__}.{each.name}") for each in found]


@cache
def discover(package: ModuleType) -> tuple[tuple[Page, Show], ...]:
    """Return the pages of a package with their `show`, in menu order. Cached: modules are searched once per process."""
    found = ((module.PAGE, module.show) for module in modules_of(package))
    return tuple(sorted(found, key=lambda pair: (pair[0].order, pair[0].path)))
