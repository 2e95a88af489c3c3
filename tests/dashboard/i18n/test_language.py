import pytest

from dashboard.i18n import language
from dashboard.i18n.language import _, marked, ngettext, speaking


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("xx, *;q=0.1", "en"),
        ("en;q=nonsense, ;;;,", "en"),
    ],
)
def test_a_browser_is_answered_in_the_language_that_it_prefers_of_those_here(header: str, code: str) -> None:
    assert language.accepted(header) == code


def test_what_a_catalogue_lacks_shows_in_english() -> None:
    with speaking("en"):
        assert _("No catalogue has this: {what}", what="this") == "No catalogue has this: this"
        assert _(marked("Nor this")) == "Nor this"
        assert _("") == ""
        assert ngettext("{n} odd thing", "{n} odd things", 1200) == "1,200 odd things"


def test_a_result_that_is_kept_by_language_is_made_once_for_each_language_and_argument() -> None:
    made: list[tuple[str, int]] = []

    @language.kept_by_language(10)
    def written(number: int) -> str:
        made.append((language.current(), number))
        return f"{language.current()} {number}"

    for _turn in range(2):
        for code in ("en", "fr"):
            with language.speaking(code):
                assert [written(1), written(2)] == [f"{code} 1", f"{code} 2"]
    assert made == [("en", 1), ("en", 2), ("fr", 1), ("fr", 2)]
