"""The rule that was entered in the form, and what is wrong with it. Pure: the form is given as its values by name."""

import re
from collections.abc import Callable, Collection, Mapping
from itertools import chain, count
from typing import Any, Final

from pydantic import ValidationError

from dashboard.i18n import external_texts, text
from dashboard.i18n.language import _
from dashboard.rules import texts
from runtime.sentences.validation_errors import FieldProblem, read_problems
from schemas.contract.alert_rules import CLOCK_MIN_SECONDS, DAYS_MAX, MEASURED, AlertRule
from schemas.contract.topics import slug

COUNTED: Final = ("disk-full", "clock", "rejected")
"""Kinds whose threshold is a number of days, seconds or messages."""

_DERIVED_MAX: Final = 56
"""Characters of a name derived from a title, which leaves room for a number."""

_INPUTS: Final = {"for_seconds": "for", "clear_threshold": "clear", "clear_seconds": "clear_for"}
"""Inputs of the form whose names differ from those of the fields."""

_OF_KIND: Final = {"threshold": COUNTED, "metric": texts.ABOUT_FACTS, "clear_for": ("changed",)}
"""Inputs that these kinds have for themselves, so that no kind gets the value of another one."""

Value = Callable[[str], Any]
"""The value of an input by its name, None if there is none."""


def input_name(name: str, kind: str) -> str:
    """Return the name of an input of the form for rules of this kind."""
    return f"{name}.{kind}" if kind in _OF_KIND.get(name, ()) else name


def has_clear(kind: str, before: Mapping[str, Any]) -> bool:
    """Return whether the form asks for a clear threshold: for readings, and where the rule has one already."""
    return kind in MEASURED or (before.get("kind") == kind and before.get("clear_threshold") is not None)


def read_form(value: Value, before: AlertRule | None, taken: Collection[str] = ()) -> AlertRule:
    """Return the rule that was entered. Raises ValidationError if it is not valid.

    A new rule without a name gets one from its title that is not among the names `taken`.
    """
    pairs = [str(label).partition("=") for label in value("labels") or ()]
    lists = {name: tuple(value(name) or ()) for name in ("systems", "versions", "machines")}
    kind = str(value("kind") or "")
    title, name = (str(value(field) or "").strip() for field in ("title", "name"))
    fields: dict[str, Any] = {
        "name": before.name if before is not None else name or _derived_name(title, taken),
        "title": title,
        "kind": kind,
        **_compared(value, kind),
        "for_seconds": 0.0 if kind == "changed" else float(value("for") or 0),
        "clear_threshold": value("clear") if has_clear(kind, {} if before is None else dict(before)) else None,
        "clear_seconds": float(_own(value, "clear_for", kind) or 0),
        "severity": value("severity") or "warning",
        "selector": {"labels": {key: label for key, _equals, label in pairs}, **lists},
        "enabled": True if before is None else bool(value("enabled")),
    }
    return AlertRule.model_validate(fields)


def _compared(value: Value, kind: str) -> dict[str, Any]:
    """Return the fields of what a rule compares."""
    metric = str(_own(value, "metric", kind) or "") if kind in (*MEASURED, *texts.ABOUT_FACTS, "no-data") else ""
    pattern = str(value("device") or "").strip() if kind in (*MEASURED, *texts.ABOUT_FACTS, "disk-full") else ""
    if kind == "changed":
        pattern = "" if metric in texts.CHANGES else pattern or "*"
    threshold = _own(value, "threshold", kind) if kind in (*MEASURED, *COUNTED) else None
    if kind == "unhealthy":
        threshold = 1.0 if value("warnings") else None
    return {"metric": metric, "device": pattern, "threshold": threshold}


def _own(value: Value, name: str, kind: str) -> Any:  # noqa: ANN401 - the value of any widget
    """Return the value of an input that only this kind has, or else of the one that it shares with others."""
    own = value(input_name(name, kind))
    return value(name) if own is None else own


def _derived_name(title: str, taken: Collection[str]) -> str:
    """Return a free name; a title without a letter or digit that a name may have gives `rule`."""
    usable = re.search("[a-z0-9]", title.lower())
    name = slug(title, _DERIVED_MAX) if usable else "rule"
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(each for each in names if each not in taken)


def find_faults(error: ValidationError, value: Value) -> dict[str, str]:
    """Return what is wrong, by the names of the inputs of the form."""
    kind = str(value("kind") or "")
    faults: dict[str, str] = {}
    for problem in read_problems(error, _labels()):
        field = ".".join(problem.field.split(".")[:2]).removeprefix("selector.")
        name = input_name(_INPUTS.get(field, field), kind)
        faults.setdefault(name, _sentence(problem, field, value, kind))
    return faults


def _sentence(problem: FieldProblem, field: str, value: Value, kind: str) -> str:
    if field == "name":
        return _("A name is 1 to 63 lower-case letters, digits and inner hyphens.")
    if field == "title" and not str(value("title") or "").strip():
        return _("Enter a title.")
    if field == "metric":
        empty = not _own(value, "metric", kind)
        return _("Choose a metric.") if empty else _("A metric is named in lower-case letters, digits and underscores.")
    if field == "threshold":
        return _threshold_sentence(_own(value, "threshold", kind), kind)
    if field == "clear_threshold":
        limit = text.number(float(_own(value, "threshold", kind)))
        if kind in ("below", "rate-below", "disk-full"):
            return _("The value at which it ends must be at least {value}.", value=limit)
        return _("The value at which it ends must be at most {value}.", value=limit)
    return external_texts.translated_error(problem.sentence)


def _threshold_sentence(given: float | None, kind: str) -> str:
    if given is None:
        return _("Enter a value.")
    if kind == "clock":
        return _("Enter at least {value} seconds: smaller differences may be network delay.", value=CLOCK_MIN_SECONDS)
    if kind == "disk-full":
        return _("Enter more than 0 and at most {value} days.", value=DAYS_MAX)
    return _("Enter at least 1 message.")


def _labels() -> dict[str, str]:
    return {
        "title": _("Title"),
        "device": _("Devices"),
        "for_seconds": _("Begins after (s)"),
        "clear_seconds": _("Ends after (s)"),
        "selector.labels": _("Labels"),
        "selector.systems": _("Operating systems"),
        "selector.versions": _("Agent versions"),
        "selector.machines": _("Machines"),
    }
