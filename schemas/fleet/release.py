"""Comparing versions of the agent."""

import re

VERSION_PATTERN = r"^\d{1,6}(\.\d{1,6}){1,3}((a|b|rc)\d{1,6})?(\.dev\d{1,6})?$"
_FORM = re.compile(r"(?P<release>[\d.]*\d)(?:(?P<phase>a|b|rc)(?P<number>\d+))?(?:\.dev(?P<dev>\d+))?")
_PHASES = {"a": 0, "b": 1, "rc": 2, None: 3}


def is_release(text: str) -> bool:
    """Return True if a text is a version that can be compared."""
    return re.fullmatch(VERSION_PATTERN, text) is not None


def is_older(version: str, than: str) -> bool:
    """Return True if a version of VERSION_PATTERN precedes another one: 0.2.0rc1 precedes 0.2.0."""
    return _key(version) < _key(than)


def _key(version: str) -> tuple[tuple[int, ...], int, int, float]:
    found = _FORM.fullmatch(version)
    if found is None:
        raise ValueError(f"{version} is not a version")
    release = [int(number) for number in found["release"].split(".")]
    while release and not release[-1]:
        del release[-1]
    phase = -1 if found["dev"] and not found["phase"] else _PHASES[found["phase"]]
    dev = float("inf") if found["dev"] is None else float(found["dev"])
    return tuple(release), phase, int(found["number"] or 0), dev
