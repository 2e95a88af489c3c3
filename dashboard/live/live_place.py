"""The place of the live readings on the machine page: a script fills it while it is visible."""

from typing import Final
from urllib.parse import urlencode

from dashboard.auth.middleware import LIVE
from dashboard.widgets.component import component

_HTML: Final = '<div class="df-live-now"><p class="df-note df-live-note"></p><div class="df-live-gauges"></div></div>'


def draw(name: str) -> None:
    """Draw the place for the live readings of a machine, in front of the stored ones."""
    component("live", _HTML)(key=f"machine_live.{name}", data={"address": f".{LIVE}?{urlencode({'id': name})}"})
