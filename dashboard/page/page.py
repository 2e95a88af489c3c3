"""The contract of a page: one file in `pages/` that exposes `PAGE` and `show`. Nothing else is edited to add one.

PAGE = Page(title=marked("Fleet"), path="fleet", icon=":material/grid_view:", order=0)

def show(context: PageContext) -> None: ...
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

from dashboard.api.tokens import ApiTokens
from dashboard.auth.user_administration import UserAdministration
from dashboard.auth.users import UserRole
from dashboard.destinations.notification_centre import NotificationCentre
from dashboard.i18n import text
from dashboard.i18n.language import Marked, marked
from dashboard.page.install_command import BrokerAddress
from dashboard.publishing.publisher import MAY_ACT, MAY_ADMINISTER, Publisher
from runtime.clock import Clock

CHART_SAMPLES_MAX = 50_000
EVERYONE = frozenset(UserRole)
ROLES: Mapping[str, Marked] = {
    UserRole.VIEWER: marked("Viewer"),
    UserRole.OPERATOR: marked("Operator"),
    UserRole.ADMIN: marked("Admin"),
}
"""The labels of the roles."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its title in the menu, its path in the address, and its roles. The lowest order is the first page."""

    title: Marked | str
    path: str
    icon: str
    order: int = 100
    roles: frozenset[UserRole] = EVERYONE
    in_menu: bool = True


@dataclass(frozen=True, slots=True)
class PageContext:
    """The visitor, and what a page works with. `org` comes from the session; a page queries no other organisation.

    `chart_samples_max`: samples that a chart reads. `arrived`: the visitor opened the page just now, rather than
    rerunning it. `pages`: the other pages, by path. `broker`: where machines and API clients connect. `users` and
    `api_tokens`: for admins only.
    """

    engine: Engine
    clock: Clock
    org: str
    user: str
    role: UserRole
    zone: tzinfo
    refresh_seconds: float
    chart_samples_max: int = CHART_SAMPLES_MAX
    arrived: bool = True
    pages: Mapping[str, Any] = field(default_factory=dict)
    publisher: Publisher | None = None
    broker: BrokerAddress = field(default_factory=BrokerAddress)
    users: UserAdministration | None = None
    api_tokens: ApiTokens | None = None
    notifications: NotificationCentre | None = None
    """Destinations and deliveries; None if there is no key to encrypt their URLs."""

    def now(self) -> int:
        """Return the time in milliseconds since the epoch, UTC."""
        return self.clock.now()

    @property
    def may_act(self) -> bool:
        """True if this visitor may run actions on machines."""
        return self.role in MAY_ACT and self.publisher is not None

    @property
    def may_administer(self) -> bool:
        """True if this visitor may change the organisation's settings."""
        return self.role in MAY_ADMINISTER and self.publisher is not None

    def moment(self, at: int | None) -> str:
        """Return a time (milliseconds) in the visitor's zone, or a dash for None."""
        return text.UNKNOWN if at is None else text.moment(at, self.now(), self.zone)


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
