"""Patterns of an owner over what a collector reports by default."""

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Any


class Selection:
    """Patterns such as `/mnt/nas` or `!veth*`: the first that matches decides; `!` before it means: not this one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [
            (re.compile(translate(pattern.removeprefix("!"))), not pattern.startswith("!")) for pattern in patterns
        ]

    def includes(self, name: str, *, default: bool) -> bool:
        """Return whether a thing with this name is to be reported; `default`: if no pattern matches."""
        return next((included for pattern, included in self._patterns if pattern.match(name)), default)

    def names(self, name: str) -> bool:
        """Return whether a pattern asks for this name."""
        return self.includes(name, default=False)


def describe_names(schema: dict[str, Any], patterns: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an action with an argument `name`, with the names that the patterns permit.

    They are choices if no pattern leaves a choice open, and a description otherwise.
    """
    name = dict(schema["properties"]["name"])
    if any(pattern.startswith("!") or set(pattern) & set("*?[") for pattern in patterns):
        name["description"] = f"Permitted here: {', '.join(patterns)}"[:500]
    else:
        name["enum"] = sorted(set(patterns))
    return {**schema, "properties": {**schema["properties"], "name": name}}
