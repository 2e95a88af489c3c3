"""Numbers that every page shows, cached for all visitors: machines that need attention, and unattended problems."""

from typing import Final

from sqlalchemy import Engine

from dashboard.page import last_good
from dashboard.page.page import PageContext
from schemas.database.queries import machines
from schemas.database.queries.machines import Counts, Filters
from schemas.database.queries.problems import count_unattended_problems

_SHARED_SECONDS: Final = 1
_MENU_SECONDS: Final = 4
"""How long the numbers of the menu are cached: it is drawn more often than the fleet, on every page."""

_counts = last_good.cached(machines.count_by_status, seconds=_SHARED_SECONDS)
_problems = last_good.cached(count_unattended_problems, seconds=_MENU_SECONDS)


def _count_attention(engine: Engine, org_name: str) -> int:
    return machines.count_by_status(engine, org_name, Filters()).of(attention=True)


_troubled = last_good.cached(_count_attention, seconds=_MENU_SECONDS)


def read_counts(context: PageContext, filters: Filters) -> Counts | None:
    """Return the number of matching machines in each state; None if they were never read."""
    return last_good.read_org(context, "fleet.counts", _counts, filters.described)


def read_all_counts(context: PageContext) -> Counts | None:
    """Return the number of all machines in each state; None if they were never read."""
    return last_good.read_org(context, "fleet.all_counts", _counts, Filters())


def count_troubled(context: PageContext) -> int:
    """Return the number of machines that need attention, each counted once."""
    return last_good.read_org(context, "fleet.troubled", _troubled) or 0


def count_problems(context: PageContext) -> int:
    """Return the number of active incidents and of active alerts that nobody attends to."""
    return last_good.read_org(context, "problems.count", _problems) or 0
