"""Containers: those of all machines, the worst first."""

from typing import Final

from dashboard.facts import fleet_list
from dashboard.i18n.language import _, marked
from dashboard.page.page import Page, PageContext

PAGE = Page(title=marked("Containers"), path="containers", icon=":material/deployed_code:", order=42)

_KIND: Final = "containers"
_NONE: Final = marked("Containers of machines on which Docker or Podman runs appear here.")


def show(context: PageContext) -> None:
    """Draw the page."""
    fleet_list.show(context, PAGE, _KIND, none=_(_NONE))
