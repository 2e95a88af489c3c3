"""Reachability: the targets that machines probe, those that a machine cannot reach first."""

from typing import Final

from dashboard.facts import fleet_list
from dashboard.i18n.language import _, marked
from dashboard.page.page import Page, PageContext

PAGE = Page(title=marked("Reachability"), path="reachability", icon=":material/network_ping:", order=45)

_KIND: Final = "probes"
_NONE: Final = marked(
    "Probes are targets that the settings of an agent name, or that operators add. Their results appear here."
)


def show(context: PageContext) -> None:
    """Draw the page."""
    fleet_list.show(context, PAGE, _KIND, none=_(_NONE))
