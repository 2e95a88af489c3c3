"""Numbers that every page shows, cached for all visitors: machines that need attention, and unattended problems."""

from functools import partial
from typing import Final

from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.page.shared_results import SharedResult
from schemas.database.queries import machines
from schemas.database.queries.machines import Counts, Filters
from schemas.database.queries.problems import count_unattended_problems

_SHARED_SECONDS: Final = 1
_MENU_SECONDS: Final = 4
"""The greatest age of the numbers of the menu: it is drawn more often than the fleet, on every page."""

_counts = SharedResult(machines.count_by_status, seconds=_MENU_SECONDS)
_problems = SharedResult(count_unattended_problems, seconds=_MENU_SECONDS)


def read_counts(context: PageContext, filters: Filters) -> Counts | None:
    """Return the number of matching machines in each state; None if they were never read."""
    return _read(context, "fleet.counts", _SHARED_SECONDS, filters.described)


def read_all_counts(context: PageContext) -> Counts | None:
    """Return the number of all machines in each state; None if they were never read."""
    return _read(context, "fleet.all_counts", _SHARED_SECONDS, Filters())


def count_troubled(context: PageContext) -> int:
    """Return the number of machines that need attention, each counted once."""
    counts = _read(context, "fleet.troubled", _MENU_SECONDS, Filters())
    return 0 if counts is None else counts.of(attention=True)


def count_problems(context: PageContext) -> int:
    """Return the number of active incidents and of active alerts that nobody attends to."""
    return last_good.read_org(context, "problems.count", _problems) or 0


def _read(context: PageContext, key: str, seconds: float, filters: Filters) -> Counts | None:
    return last_good.read(context, key, partial(_counts.newer, seconds, context.engine, context.org, filters))
