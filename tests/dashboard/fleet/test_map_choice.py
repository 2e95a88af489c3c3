"""The choice of how the map is drawn, as a browser remembers it."""

import pytest

from dashboard.fleet import map_choice
from dashboard.fleet.map_choice import MapChoice


@pytest.mark.parametrize("choice", [MapChoice(), MapChoice("os", "cpu"), MapChoice("label:site", "")])
def test_a_choice_is_read_as_it_was_written(choice: MapChoice) -> None:
    assert map_choice.read(map_choice.written(choice)) == choice


@pytest.mark.parametrize("cookie", ["nonsense", "group=%00&colour=<b>", "group=label:&colour=rm", "group=label:A B"])
def test_anything_but_known_codes_is_ignored(cookie: str) -> None:
    assert map_choice.read(cookie) == MapChoice()


def test_a_visitor_without_a_choice_gets_the_label_with_the_fewest_values() -> None:
    assert map_choice.read("") is None
    racks = [f"rack={i}" for i in range(13)]
    assert map_choice.usual(
        ["env=prod", "site=lyon", "site=paris", "floor=1", "floor=2", "floor=3", *racks]
    ) == MapChoice("label:site")
    assert map_choice.usual(["env=prod", *racks]) == MapChoice()
