"""Streamlit's theme options, for the light and the dark scheme.

`assets/style.css` has the same palette for DashFleet's own elements. Colours are set per scheme only: one set for both
would put a light colour on a dark page. Every pair of text and background has a contrast of 4.5 or more.
"""

from typing import Final

_FONT: Final = "'Source Sans', system-ui, sans-serif"

_SHARED: Final[dict[str, object]] = {
    "baseRadius": "0.5rem",
    "buttonRadius": "0.5rem",
    "baseFontSize": 15,
    "font": _FONT,
    "headingFont": _FONT,
    "headingFontSizes": ["1.7rem", "1.25rem", "1.05rem"],
    "headingFontWeights": [650, 600, 600],
    "showWidgetBorder": True,
    "showSidebarBorder": True,
    "paddingTop": "1.5rem",
    "linkUnderline": False,
}

_COLOURS: Final = {
    "primaryColor": ("#2f5fd0", "#7aa5ff"),
    "backgroundColor": ("#f7f8fa", "#0e131b"),
    "secondaryBackgroundColor": ("#ffffff", "#171d28"),
    "textColor": ("#171c26", "#e7ebf2"),
    "linkColor": ("#2450b8", "#8fb3ff"),
    "borderColor": ("#dfe3ea", "#2a3342"),
    "codeBackgroundColor": ("#eef0f4", "#1d2532"),
    "codeTextColor": ("#171c26", "#e7ebf2"),
    "grayTextColor": ("#596274", "#9ba7ba"),
    "sidebar.backgroundColor": ("#ffffff", "#121822"),
    "sidebar.secondaryBackgroundColor": ("#eef1f6", "#1d2532"),
    "sidebar.borderColor": ("#dfe3ea", "#2a3342"),
    "chartCategoricalColors": (
        ["#2f5fd0", "#0a8f7a", "#b0521b", "#7a4fc9", "#b3306a", "#5d6b1b", "#00718f", "#7d6200", "#b3372a", "#44546a"],
        ["#7aa5ff", "#4fd1b5", "#f0a163", "#b79cff", "#f58ab6", "#c3d16a", "#6fd3f2", "#e6c84f", "#ff9c8f", "#aab8cc"],
    ),
}
"""Of the light and of the dark scheme."""

_TONES: Final = {
    "good": ("#0b6b3a", "#6fe3a5"),
    "fair": ("#7d4c00", "#fbc258"),
    "bad": ("#b01f16", "#ff9d92"),
    "muted": ("#5a3f99", "#c3b0f7"),
    "plain": ("#475063", "#b3bdce"),
}
"""The colours of `Word.tone` in the light and in the dark scheme."""

OPTIONS: Final[dict[str, object]] = {
    **{f"theme.{name}": value for name, value in _SHARED.items()},
    **{f"theme.light.{name}": light for name, (light, _dark) in _COLOURS.items()},
    **{f"theme.dark.{name}": dark for name, (_light, dark) in _COLOURS.items()},
}
"""Streamlit configuration options, by their names."""


def dialog_style(scheme: str | None) -> str:
    """Return the style of a dialog, which does not inherit the page's scheme.

    It also hides the buttons of the previous step, which Streamlit keeps while they have the focus: they displace those
    of this step until the mouse button goes down on one, which then moves away, and the click is lost. They keep the
    focus: inside the dialog, Streamlit handles Escape itself; `assets/escape.js` does the rest.
    """
    return f"""<style>
        .stDialog {{ color-scheme: {"dark" if scheme == "dark" else "light"} }}
        .stDialog [data-retained]:has(.stButton) {{ position: absolute; opacity: 0; pointer-events: none }}
    </style>"""


def ink(scheme: str | None) -> str:
    """Return the text colour of charts; that of Streamlit's chart theme has too little contrast."""
    return str(_COLOURS["grayTextColor"][scheme == "dark"])


def line_colours(scheme: str | None) -> list[str]:
    """Return the colours of the lines of a chart, in their order."""
    return list(_COLOURS["chartCategoricalColors"][scheme == "dark"])


def tone(name: str, scheme: str | None) -> str:
    """Return the colour of a tone, which is that of `assets/style.css`, for a chart."""
    return _TONES.get(name, _TONES["plain"])[scheme == "dark"]
