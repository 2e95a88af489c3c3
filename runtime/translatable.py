"""A sentence that the parts share, in English, with what it was made of: a page can say it in another language."""

from collections.abc import Mapping


class Translatable(str):
    """`template` with `values` in it, by name."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> "Translatable":
        """The sentence in English."""
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made
