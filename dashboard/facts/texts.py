"""Facts in words: titles of kinds and items, values, what changed. Pure.

A kind that is not listed here, as from a plug-in, is shown under its own name.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dashboard.facts.field_titles import UNITS, field_title, named
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import Word

HEALTHS: Final[Mapping[str, tuple[Marked, str]]] = {
    "critical": (marked("Critical"), "bad"),
    "fair": (marked("Warning"), "fair"),
    "unknown": (marked("Unknown"), "plain"),
    "good": (marked("OK"), "good"),
}
"""Healths of an item with label and tone, the worst first."""

KINDS: Final[Mapping[str, tuple[Marked, Marked]]] = {
    "checks": (marked("Checks"), marked("Check")),
    "containers": (marked("Containers"), marked("Container")),
    "services": (marked("Services"), marked("Service")),
    "mounts": (marked("File systems"), marked("File system")),
    "disks": (marked("Disks"), marked("Disk")),
    "arrays": (marked("RAID arrays"), marked("RAID array")),
    "smart": (marked("Disk health"), marked("Disk health")),
    "interfaces": (marked("Network interfaces"), marked("Network interface")),
    "processes": (marked("Processes at peak load"), marked("Process")),
    "updates": (marked("Pending updates"), marked("Pending updates")),
    "packages": (marked("Packages to update"), marked("Package to update")),
    "users": (marked("Logged-in users"), marked("User")),
    "gpus": (marked("GPUs"), marked("GPU")),
    "ups": (marked("UPS"), marked("UPS")),
    "batteries": (marked("Batteries"), marked("Battery")),
    "probes": (marked("Reachability"), marked("Target")),
}
"""Titles of known kinds, of the list and of one item, in the order of the machine page."""

_LATEST: Final = 253_402_300_800_000
"""The end of the year 9999 in milliseconds; later times are shown as numbers."""


def order(kind: str) -> tuple[int, str]:
    """Return the place of a kind among the others."""
    known = list(KINDS)
    return (known.index(kind) if kind in known else len(known)), kind


def title(kind: str) -> str:
    """Return the title of a list."""
    return _(KINDS[kind][0]) if kind in KINDS else named(kind)


def singular(kind: str) -> str:
    """Return the title of one item of a list."""
    return _(KINDS[kind][1]) if kind in KINDS else named(kind)


def health(code: str | None) -> Word:
    """Return the label of a health; a dash where there is nothing to judge."""
    if code is None:
        return Word(text.UNKNOWN, "plain")
    label, tone = HEALTHS.get(code, (code, "plain"))
    return Word(_(label), tone)


def field(name: str, value: Any) -> tuple[str, str]:  # noqa: ANN401 - schemas.contract.facts.FactValue
    """Return the label and the formatted value of a field; the name of a number ends in its unit."""
    if isinstance(value, bool):
        return field_title(name), _("yes") if value else _("no")
    if value is None:
        return field_title(name), text.UNKNOWN
    if not isinstance(value, int | float):
        return field_title(name), str(value)
    if name == "pid":
        return field_title(name), str(int(value))
    start, _separator, unit = name.rpartition("_")
    if unit == "at" and 0 <= value < _LATEST:
        return field_title(start), f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    if unit not in UNITS:
        return field_title(name), text.number(value)
    return field_title(start or name), text.quantity(value, unit)


def details(fields: Mapping[str, Any]) -> str:
    """Return all fields in one line; texts come first, as they say what the numbers cannot."""
    ordered = sorted(fields.items(), key=lambda pair: not isinstance(pair[1], str))
    return " · ".join(
        _("{name}: {value}", name=label, value=shown) for label, shown in (field(*each) for each in ordered)
    )


def change_word(row: Any) -> Word:  # noqa: ANN401 - a row of fact_change
    """Return the state that a change led to."""
    if row.change == "appeared":
        return Word(_("Appeared"), _tone(row.health_after))
    if row.change == "disappeared":
        return Word(_("Disappeared"), "muted")
    if row.health_after is not None and row.health_after != row.health_before:
        return health(row.health_after)
    return Word(_("Changed"), _tone(row.health_after))


def change_detail(row: Any) -> str:  # noqa: ANN401 - a row of fact_change
    """Return what changed, as `State: running → exited`."""
    if row.change == "more":
        return _("More changes than are recorded in a day")
    before, after = row.before or {}, row.after or {}
    parts = []
    for name in {**before, **after}:
        earlier, later = (field(name, some[name])[1] if name in some else "" for some in (before, after))
        shown = " → ".join(filter(None, (earlier, later)))
        parts.append(_("{name}: {value}", name=field(name, "")[0], value=shown))
    return " · ".join(parts)


def _tone(code: str | None) -> str:
    return HEALTHS[code][1] if code in ("critical", "fair") else "plain"
