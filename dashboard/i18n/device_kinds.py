"""Names of kinds of devices."""

from collections.abc import Mapping
from typing import Final

from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked

_KINDS: Final[Mapping[str, Marked]] = {
    "mount": marked("File system"),
    "disk": marked("Disk"),
    "interface": marked("Interface"),
    "core": marked("Core"),
    "sensor": marked("Sensor"),
    "fan": marked("Fan"),
    "battery": marked("Battery"),
    "resource": marked("Resource"),
    "container": marked("Container"),
    "check": marked("Check"),
    "target": marked("Target"),
    "ups": marked("UPS"),
    "gpu": marked("GPU"),
    "package manager": marked("Package manager"),
}


def kind_title(kind: str) -> str:
    """Return the name of a kind of devices."""
    return _(_KINDS[kind]) if kind in _KINDS else text.readable(kind).capitalize() or _("Device")
