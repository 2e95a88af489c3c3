from dashboard.fleet import tile_map
from dashboard.fleet.tile_map import word
from dashboard.i18n.text import Word
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

LETTERS = (*BY_HEALTH.values(), *BY_PRESENCE.values(), UNJUDGED, UNVERIFIED)


def map_of(looks: str, groups: tuple[TileGroup, ...] = ()) -> Tiles:
    names = tuple(f"m-{i}" for i in range(len(looks)))
    return Tiles(names, names, looks, groups, len(looks))


def test_no_two_letters_have_the_same_sign_or_the_same_words() -> None:
    drawn = tile_map.legend(map_of("".join(LETTERS)))
    assert len(drawn) == len(set(LETTERS)) == len({each["sign"] for each in drawn})
    assert len({each["label"] for each in drawn}) == len(LETTERS)


def test_the_legend_says_what_occurs_in_an_order_of_its_own() -> None:
    drawn = tile_map.legend(map_of("ocgog"))
    assert [(each["label"], each["count"]) for each in drawn] == [
        ("Online, OK", "2"),
        ("Online, Critical", "1"),
        ("Offline", "2"),
    ]


def test_only_a_machine_that_is_well_has_no_sign() -> None:
    assert [each["look"] for each in tile_map.legend(map_of("".join(LETTERS))) if not each["sign"]] == ["g"]


def test_a_tone_is_that_of_the_table() -> None:
    assert word("c") == Word("Online, Critical", "bad")
    assert word("s") == Word("Stale", "fair")
    assert word(UNJUDGED) == Word("Online, Unknown", "plain")
    assert word(UNVERIFIED) == Word("Unverified", "plain")


def test_groups_have_headings_with_numbers() -> None:
    found = (TileGroup("paris", 1500, 2), TileGroup("", 2, 1), TileGroup(OTHERS, 1))
    drawn = tile_map.groups(map_of("ggg", found))
    assert [each["title"] for each in drawn] == [
        "paris · 1,500 · 2 need attention",
        "Not set · 2 · 1 needs attention",
        "Others · 1",
    ]


def test_a_colouring_has_ranges_in_words_and_greys_what_is_not_current() -> None:
    drawn = tile_map.legend(map_of("".join((*(letter for letter, _ in LEVELS), "o", UNJUDGED))), "disk")
    assert [(each["sign"], each["label"], each["tone"]) for each in drawn] == [
        ("", "Disk: below 50 %", "good"),
        ("5", "Disk: 50 % or more", "good"),
        ("7", "Disk: 75 % or more", "fair"),
        ("9", "Disk: 90 % or more", "bad"),
        ("·", "Disk: –", "plain"),
        ("○", "Offline", "plain"),
    ]
