"""The map: a tile for each machine of the fleet, drawn on a canvas by `assets/map.js`.

Invariants:
- It supplements the table, and shows nothing that the table does not have in words.
- Names go to the browser in a separate component, which is sent again only when they change: a refresh of 10,000 tiles
  is one character each.
"""

from collections import Counter
from hashlib import blake2b
from typing import Any, Final

from dashboard.i18n import text
from dashboard.i18n.language import _
from dashboard.i18n.text import Word
from dashboard.widgets.component import component
from schemas.database.queries.tiles import BY_HEALTH, BY_PRESENCE, OTHERS, UNJUDGED, UNVERIFIED, Tiles

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


def draw(tiles: Tiles, *, grouped: bool) -> str:
    """Draw the map; return the id of the machine that was just opened, or ""."""
    version = blake2b("\n".join(tiles.names).encode(), digest_size=8).hexdigest()
    result = component("map", _HTML)(
        key="fleet_map",
        data={
            "version": version,
            "name": _("Map of the machines. Arrow keys move between tiles, Enter opens the machine."),
            "hint": _("Hover over a tile for its machine, or move with the arrow keys; Enter or a click opens it."),
            "looks": tiles.looks,
            "legend": legend(tiles),
            "groups": groups(tiles) if grouped else [{"title": "", "count": len(tiles.names)}],
        },
        on_opened_change=lambda: None,
    )
    component("map_names", _NAMES_HTML)(
        key="fleet_map_names",
        data={"version": version, "names": tiles.names, "titles": [text.readable(title) for title in tiles.titles]},
    )
    return str(result.opened or "")


def legend(tiles: Tiles) -> list[dict[str, Any]]:
    """Return the symbol, colour, words and number of machines of each look that occurs."""
    counts = Counter(tiles.looks)
    shown = [(look, sign, word(look), text.count(counts[look])) for look, sign in _SIGNS.items() if counts[look]]
    return [
        {"look": look, "sign": sign, "label": found.label, "tone": found.tone, "count": count}
        for look, sign, found, count in shown
    ]


def groups(tiles: Tiles) -> list[dict[str, Any]]:
    """Return the headings of the groups, with the number of tiles in each."""
    named = {"": _("Not set"), OTHERS: _("Others")}
    return [
        {"title": f"{named.get(name, text.readable(name))} · {text.count(count)}", "count": count}
        for name, count in tiles.groups
    ]


def word(look: str) -> Word:
    """Return a machine's presence, and its health while it is online."""
    if look == UNVERIFIED:
        return Word(_("Unverified"), "plain")
    for presence, letter in BY_PRESENCE.items():
        if look == letter:
            return text.presence(presence)
    well = text.health(next((health for health, letter in BY_HEALTH.items() if look == letter), "unknown"))
    return Word(f"{text.presence('online').label}, {well.label}", well.tone)
