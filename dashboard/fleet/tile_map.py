"""The whole fleet at once: a tile for each machine on a canvas, a component of our own. `assets/map.js` draws it.

Invariants:
- It supplements the table, and shows nothing that the table does not say in words.
- Names go to the browser in a component of their own: they rarely change, and what did not change is not sent again. A
  refresh of 10,000 tiles is one letter each.
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
"""What stands in a tile, so that nobody needs to see its colour; in the order of the legend."""


def draw(tiles: Tiles, *, grouped: bool) -> str:
    """Draw it; returns the id of the machine that was just opened, or an empty text."""
    version = blake2b("\n".join(tiles.names).encode(), digest_size=8).hexdigest()
    result = component("map", _HTML)(
        key="fleet_map",
        data={
            "version": version,
            "name": _("Map of the machines. Arrow keys move from tile to tile, Enter opens the machine."),
            "hint": _(
                "Point at a tile to see which machine it is, or move with the arrow keys; Enter or a click opens it."
            ),
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
    """What each letter is that occurs: a sign beside a colour, in words, and how many machines are so."""
    counts = Counter(tiles.looks)
    return [
        {
            "look": look,
            "sign": sign,
            "label": word(look).label,
            "tone": word(look).tone,
            "count": text.count(counts[look]),
        }
        for look, sign in _SIGNS.items()
        if counts[look]
    ]


def groups(tiles: Tiles) -> list[dict[str, Any]]:
    """The headings above the tiles, with how many tiles are below each."""
    named = {"": _("Without"), OTHERS: _("Others")}
    return [
        {"title": f"{named.get(name, text.readable(name))} · {text.count(count)}", "count": count}
        for name, count in tiles.groups
    ]


def word(look: str) -> Word:
    """A machine's presence; of one that is online its health too."""
    if look == UNVERIFIED:
        return Word(_("Unverified"), "plain")
    for presence, letter in BY_PRESENCE.items():
        if look == letter:
            return text.presence(presence)
    well = text.health(next((health for health, letter in BY_HEALTH.items() if look == letter), "unknown"))
    return Word(f"{text.presence('online').label}, {well.label}", well.tone)
