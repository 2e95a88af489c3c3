"""Checks: the results of the checks that owners have added to their machines, the worst first."""

from typing import Final

from dashboard.facts import fleet_list
from dashboard.i18n.language import _, marked
from dashboard.page.page import Page, PageContext

PAGE = Page(title=marked("Checks"), path="checks", icon=":material/checklist:", order=44)

_KIND: Final = "checks"
_NONE: Final = marked("Checks are programs that the settings of an agent name. Their results appear here.")


def show(context: PageContext) -> None:
    """Draw the page."""
    fleet_list.show(context, PAGE, _KIND, none=_(_NONE))
