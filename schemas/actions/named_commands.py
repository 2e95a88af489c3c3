"""Named command lines of a machine's own configuration, for the action `run`: templates of argv.

Invariants:
- No shell is involved. A parameter's value is one element of argv, or part of one, and is never split.
- A value matches its whole pattern, contains no NUL, and begins with `-` only where the configuration permits it, so
  that it cannot become an option.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

VALUE_MAX = 1024
"""Maximum length of a parameter's value, in characters."""

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

ParameterName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class ParameterError(ValueError):
    """The values do not fit the command line; the message names the parameter."""


class Parameter(BaseModel):
    """Constraint on the value of one parameter: a regular expression that it must match as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: Annotated[str, Field(max_length=1000)]
    leading_dash: bool = False
    title: Annotated[str, Field(max_length=64)] = ""

    @field_validator("pattern")
    @classmethod
    def _is_a_regular_expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern

    def check(self, name: str, value: str) -> None:
        """Check a value. Raises ParameterError."""
        if len(value) > VALUE_MAX or "\0" in value or not re.fullmatch(self.pattern, value):
            raise ParameterError(f"the value of {name} does not match its pattern")
        if value.startswith("-") and not self.leading_dash:
            raise ParameterError(f"the value of {name} may not begin with a dash")


class CommandLine(BaseModel):
    """A command line. In the elements of `argv`, `{name}` is a parameter, `{{` and `}}` are braces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    argv: Annotated[list[str], Field(min_length=1, max_length=256)]
    title: Annotated[str, Field(max_length=64)] = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    parameters: Annotated[dict[ParameterName, Parameter], Field(max_length=16)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not PurePath(self.argv[0]).is_absolute() or _PLACE.search(self.argv[0]):
            raise ValueError("the first element of argv must be the absolute path of a program")
        if any("\0" in element for element in self.argv):
            raise ValueError("argv cannot hold a NUL")
        named = {name for element in self.argv for name in _names(element)}
        if unknown := named - set(self.parameters):
            raise ValueError(f"argv names {{{min(unknown)}}}, which is not a parameter: write {{{{ and }}}} for braces")
        if unused := set(self.parameters) - named:
            raise ValueError(f"the parameter {min(unused)} does not occur in argv")
        return self

    def fill(self, values: Mapping[str, str]) -> list[str]:
        """Return the argv with these values. Raises ParameterError."""
        if missing := set(self.parameters) - set(values):
            raise ParameterError(f"the value of {min(missing)} is missing")
        for name, value in values.items():
            if name not in self.parameters:
                raise ParameterError("there is a value for an unknown parameter")
            self.parameters[name].check(name, value)
        return [_PLACE.sub(lambda place: _fill(place, values), element) for element in self.argv]


def _names(element: str) -> list[str]:
    """Return the names in one element; a single brace counts as a name that no parameter can have."""
    return [place[1] or place[0] for place in _PLACE.finditer(element) if place[0] not in ("{{", "}}")]


def _fill(place: re.Match[str], values: Mapping[str, str]) -> str:
    return values[place[1]] if place[1] else place[0][0]
