"""Sentences shared by the parts, in English, which the dashboard can translate."""

from collections.abc import Mapping


class Translatable(str):
    """The `template` filled in with `values`, both kept for translation."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> "Translatable":
        """Return the sentence in English."""
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made
