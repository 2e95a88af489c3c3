"""Completeness of the catalogues: no text is missing, fuzzy, obsolete, or without one of its values or forms."""

import ast
import re
import string
from gettext import c2py

import catalogues
import pytest
from babel.messages import Message
from babel.messages.plurals import get_plural

from dashboard.i18n import language
from dashboard.i18n.language import ngettext, speaking

OTHERS = tuple(code for code in language.LANGUAGES if code != language.ENGLISH)
_LATIN_IN_RUSSIAN = {"OK", "Python", "CSV", "°C", "%"}
_VERBATIM = re.compile(r"`[^`]+`|\bdashfleet \w+|\bpassword_file\b|\b\w+\.pem\b|\*\*(?=\w)")


def texts(code: str) -> list[Message]:
    return [text for text in catalogues.catalogue(code) if text.id]


def forms(text: Message) -> tuple[str, ...]:
    return tuple(map(str, text.string)) if isinstance(text.string, tuple) else (str(text.string),)


def originals(text: Message) -> tuple[str, ...]:
    return tuple(map(str, text.id)) if isinstance(text.id, tuple) else (str(text.id),)


def values(text: str) -> set[str | None]:
    return {name for _text, name, _format, _conversion in string.Formatter().parse(text)} - {None}


def stands_for_one(code: str, form: int) -> bool:
    """Return True if this plural form serves a single number up to 1,000."""
    choose = c2py(get_plural(code).plural_expr)
    return sum(choose(n) == form for n in range(1, 1001)) == 1


def test_french_spanish_and_russian_are_there() -> None:
    assert {"fr", "es", "ru"} <= set(OTHERS)


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_has_the_texts_of_the_code_and_no_others(code: str) -> None:
    marked = {(text.context, str(text.id)) for text in catalogues.extracted() if text.id}
    known = {(text.context, str(text.id)) for text in texts(code)}
    assert marked - known == set(), "run make messages, and translate what it added"
    assert known - marked == set(), "run make messages"


def test_no_text_is_where_the_extraction_does_not_find_it() -> None:
    """Babel does not look into f-strings before Python 3.12."""
    found = {original for text in catalogues.extracted() if text.id for original in originals(text)}
    missed = [
        f"{file.name}:{call.lineno} {said}"
        for file in sorted((catalogues.ROOT / "dashboard").rglob("*.py"))
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if (said := _said(call.func.id, call.args)) and said not in found
    ]
    assert missed == []


def _said(function: str, arguments: list[ast.expr]) -> str:
    place = {"_": 0, "marked": 0, "ngettext": 0, "pgettext": 1}.get(function, len(arguments))
    constants = [each.value for each in arguments[place : place + 1] if isinstance(each, ast.Constant)]
    return str(constants[0]) if constants else ""


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_is_untranslated_or_a_guess(code: str) -> None:
    assert [text.id for text in texts(code) if catalogues.untranslated(text)] == []


@pytest.mark.parametrize("code", OTHERS)
def test_every_plural_form_of_the_language_is_there(code: str) -> None:
    wanted = get_plural(code).num_plurals
    assert [text.id for text in texts(code) if text.pluralizable and len(forms(text)) != wanted] == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_values_of_its_original(code: str) -> None:
    """A form that serves a single number may omit the number if English does."""
    for text in texts(code):
        allowed = [values(original) for original in originals(text)]
        for form, translated in enumerate(forms(text)):
            alone = not text.pluralizable or stands_for_one(code, form)
            assert values(translated) in (allowed if alone else allowed[-1:]), (text.id, translated)


@pytest.mark.parametrize("code", OTHERS)
def test_commands_and_marks_are_left_as_they_are(code: str) -> None:
    for text in texts(code):
        for original, translated in zip(originals(text), forms(text), strict=False):
            assert sorted(_VERBATIM.findall(translated)) == sorted(_VERBATIM.findall(original)), (original, translated)
            edges = original[:1].isspace(), original[-1:].isspace()
            assert (translated[:1].isspace(), translated[-1:].isspace()) == edges, (original, translated)


def test_russian_is_written_in_its_letters() -> None:
    latin = [
        text.id
        for text in texts("ru")
        if text.id not in _LATIN_IN_RUSSIAN
        for each in forms(text)
        if not _is_russian(each)
    ]
    assert latin == []


def _is_russian(text: str) -> bool:
    words = re.sub(r"\{\w+\}", "", text)
    return bool(re.search("[а-яё]", words, re.IGNORECASE)) or not re.search("[a-z]", words, re.IGNORECASE)


@pytest.mark.parametrize(
    ("code", "number", "said"),
    [
        ("fr", 0, "0 machine"),
        ("fr", 1, "1 machine"),
        ("fr", 2, "2 machines"),
        ("es", 1, "1 máquina"),
        ("es", 12_400, "12.400 máquinas"),
        ("ru", 1, "1 машина"),
        ("ru", 3, "3 машины"),
        ("ru", 5, "5 машин"),
        ("ru", 11, "11 машин"),
        ("ru", 21, "21 машина"),
        ("ru", 1_024, "1\u00a0024 машины"),
    ],
)
def test_a_number_takes_the_form_that_its_language_has_for_it(code: str, number: int, said: str) -> None:
    with speaking(code):
        assert ngettext("{n} machine", "{n} machines", number) == said
