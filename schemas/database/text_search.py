"""Conditions for searching texts."""

from typing import Any

from sqlalchemy import ColumnElement, or_


def contains(word: str, *fields: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that one of the fields contains a word, in upper or lower case."""
    return or_(*(field.icontains(word, autoescape=True) for field in fields))


def contains_each(search: str, *fields: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """Return for each word of a search the condition that one of the fields contains it."""
    return [contains(word, *fields) for word in search.split()]
