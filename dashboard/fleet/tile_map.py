"""The map: a tile for each machine of the fleet, drawn on a canvas by `assets/map.js`.

Invariants:
- It supplements the table, and shows nothing that the table does not have in words.
- Names go to the browser in a separate component, which is sent again only when they change: a refresh of 10,000 tiles
  is one character each. The readings of one tile are fetched when it is pointed at, see `tile_details`.
- A machine whose readings are not current has the sign of its status in every colouring, never a reading's colour.
"""

from collections import Counter
from hashlib import blake2b
from typing import Any, Final

from dashboard.fleet import map_choice
from dashboard.fleet.tile_details import DETAILS
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.i18n.text import Word
from dashboard.widgets.component import component
from schemas.database.queries.tiles import (
    BY_HEALTH,
    BY_PRESENCE,
    LEVELS,
    OTHERS,
    UNJUDGED,
    UNVERIFIED,
    TileGroup,
    Tiles,
)

_HTML: Final = (
    '<div class="df-map"><ul class="df-map-legend"></ul><div class="df-map-field" tabindex="0" role="application">'
    '<canvas aria-hidden="true"></canvas></div><p class="df-map-hint df-note"></p>'
    '<p class="df-map-said" role="status"></p></div>'
)
_NAMES_HTML: Final = '<div class="df-map-names" hidden></div>'

_SIGNS: Final = {
    BY_HEALTH["ok"]: "",
    BY_HEALTH["warn"]: "!",
    BY_HEALTH["critical"]: "×",
    UNJUDGED: "·",
    BY_PRESENCE["stale"]: "~",
    BY_PRESENCE["offline"]: "○",
    BY_PRESENCE["expired"]: "–",
    BY_PRESENCE["unknown"]: "?",
    BY_PRESENCE["retired"]: "/",
    UNVERIFIED: "¿",
}
"""Symbols in the tiles, which do not rely on colour, in the order of the legend."""

_LEVEL_SIGNS: Final = {letter: "" if letter == "0" else letter for letter, _least in reversed(LEVELS)}
_LEVEL_TONES: Final = {"0": "good", "5": "good", "7": "fair", "9": "bad"}
COLOURS: Final = {"": marked("Status"), "cpu": marked("CPU"), "memory": marked("Memory"), "disk": marked("Disk")}
"""The titles of what tiles can be coloured by."""


def draw(tiles: Tiles, *, grouped: bool, colour: str = "", remember: str = "") -> str:
    """Draw the map; return the id of the machine that was just opened, or "".

    `remember`: what the browser stores for the next visit, see `map_choice`.
    """
    version = blake2b("\n".join(tiles.names).encode(), digest_size=8).hexdigest()
    result = component("map", _HTML)(
        key="fleet_map",
        data={
            "version": version,
            "name": _("Map of the machines. Arrow keys move between tiles, Enter opens the machine."),
            "hint": _("Hover over a tile for its machine, or move with the arrow keys; Enter or a click opens it."),
            "looks": tiles.looks,
            "legend": legend(tiles, colour),
            "groups": groups(tiles) if grouped else [{"title": "", "count": len(tiles.names)}],
            "details": DETAILS,
            "remember": remember,
            "cookie": map_choice.COOKIE,
        },
        on_opened_change=lambda: None,
    )
    component("map_names", _NAMES_HTML)(
        key="fleet_map_names",
        data={"version": version, "names": tiles.names, "titles": [text.readable(title) for title in tiles.titles]},
    )
    return str(result.opened or "")


def legend(tiles: Tiles, colour: str = "") -> list[dict[str, Any]]:
    """Return the symbol, colour, words and number of machines of each look that occurs."""
    counts = Counter(tiles.looks)
    signs = {**_LEVEL_SIGNS, **_SIGNS}
    shown = [(look, sign, word(look, colour), text.count(counts[look])) for look, sign in signs.items() if counts[look]]
    return [
        {"look": look, "sign": sign, "label": found.label, "tone": found.tone, "count": count}
        for look, sign, found, count in shown
    ]


def groups(tiles: Tiles) -> list[dict[str, Any]]:
    """Return the headings of the groups, with the number of tiles and of problems in each."""
    return [{"title": _heading(group), "count": group.count} for group in tiles.groups]


def _heading(group: TileGroup) -> str:
    named = {"": _("Not set"), OTHERS: _("Others")}
    parts = [named.get(group.name, text.readable(group.name)), text.count(group.count)]
    if group.problems:
        parts.append(ngettext("{n} needs attention", "{n} need attention", group.problems))
    return " · ".join(parts)


def word(look: str, colour: str = "") -> Word:
    """Return a machine's presence, and while it is online its health, or the range of the reading of this colour."""
    if colour and look in _LEVEL_TONES:
        return Word(f"{_(COLOURS[colour])}: {_range(look)}", _LEVEL_TONES[look])
    if colour and look == UNJUDGED:
        return Word(f"{_(COLOURS[colour])}: {text.UNKNOWN}", "plain")
    if look == UNVERIFIED:
        return Word(_("Unverified"), "plain")
    for presence, letter in BY_PRESENCE.items():
        if look == letter:
            return Word(text.presence(presence).label, "plain") if colour else text.presence(presence)
    well = text.health(next((health for health, letter in BY_HEALTH.items() if look == letter), "unknown"))
    return Word(f"{text.presence('online').label}, {well.label}", well.tone)


def _range(look: str) -> str:
    least = dict(LEVELS)[look]
    if not least:
        return _("below {share}", share=text.percent(LEVELS[-2][1]))
    return _("{share} or more", share=text.percent(least))
