import re
from pathlib import Path

import pytest

from dashboard.widgets import theme
from dashboard.widgets.asset_files import ASSETS

CONTRAST = 4.5
PALETTE = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(
        r"--df-([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", (ASSETS / "style.css").read_text()
    )
}
TONES = [name.removesuffix("-page") for name in PALETTE if name.endswith("-page")]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_what_they_stand_on(scheme: str) -> None:
    assert TONES
    for tone in TONES:
        assert contrast(PALETTE[tone][scheme], PALETTE[f"{tone}-page"][scheme]) >= CONTRAST, tone
    for text in ("text", "quiet", "accent"):
        for page in ("card", "hover"):
            assert contrast(PALETTE[text][scheme], PALETTE[page][scheme]) >= CONTRAST, (text, page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_streamlits_own_words_can_be_read(scheme: str) -> None:
    page = str(theme.OPTIONS[f"theme.{scheme}.backgroundColor"])
    for name in ("textColor", "linkColor", "primaryColor", "grayTextColor"):
        assert contrast(str(theme.OPTIONS[f"theme.{scheme}.{name}"]), page) >= CONTRAST, name
    assert contrast(theme.ink(scheme), PALETTE["card"][scheme]) >= CONTRAST


def test_colours_are_set_for_one_scheme_each_never_for_both() -> None:
    assert not [name for name in theme.OPTIONS if name.count(".") == 1 and "olor" in name]


def test_nothing_that_is_drawn_comes_from_another_host() -> None:
    for file in Path(ASSETS).iterdir():
        if file.suffix != ".png":
            text = file.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text, file.name
            assert "https://" not in text, file.name
            assert "//" not in re.sub(r"(?m)^\s*//.*$", "", text), file.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_mark_in_a_chart_has_the_colour_of_its_label(scheme: str) -> None:
    assert {tone: theme.tone(tone, scheme) for tone in TONES} == {tone: PALETTE[tone][scheme] for tone in TONES}
