"""The options that describe an alert rule, and the rule that they give."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.options import to_seconds
from cli.silence import to_labels
from runtime.errors import UserError

if TYPE_CHECKING:
    from schemas.contract.alert_rules import AlertRule

Title = Annotated[str | None, typer.Option(help="Title of its alerts.", show_default="from the name")]
Metric = Annotated[
    str | None,
    typer.Option(
        help="Vital or extra metric, such as cpu_percent. With --kind changed: boot, agent_version, os_version or, "
        "with --device, a kind of facts. With --kind unhealthy: a kind of facts, such as containers or checks."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Compare the worst device of a metric of series, or item of facts, whose name matches, such as "
        "'/data*' or '*'.",
        show_default="any device",
    ),
]
Above = Annotated[float | None, typer.Option(help="Fulfilled when the metric is at least this.")]
Below = Annotated[float | None, typer.Option(help="Fulfilled when the metric is at most this.")]
Rate = Annotated[bool, typer.Option("--rate", help="Compare the increase of the metric per second.")]
Kind = Annotated[
    str | None,
    typer.Option(
        help="Instead of --above or --below: no-data, changed, disk-full, away, clock, rejected, unhealthy, above."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Of --kind disk-full: days; of clock: seconds; of rejected: messages within an hour; of unhealthy: 1 for "
        "warnings, too."
    ),
]
For = Annotated[str | None, typer.Option("--for", help="Duration before an alert begins, such as 90s or 5m; 0: none.")]
ClearAt = Annotated[
    float | None, typer.Option(help="Value that counts instead while an alert is active.", show_default="the threshold")
]
ClearFor = Annotated[
    str | None, typer.Option(help="Duration without the condition before an alert ends; 0: none.", show_default="60s")
]
SeverityName = Annotated[str | None, typer.Option("--severity", help="warning or critical.", show_default="warning")]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only machines with this label; may be repeated."),
]
Systems = Annotated[
    list[str] | None, typer.Option("--system", metavar="NAME", help="Only this operating system; may be repeated.")
]
Versions = Annotated[
    list[str] | None,
    typer.Option("--agent-version", metavar="VERSION", help="Only this version of the agent; may be repeated."),
]
Machines = Annotated[
    list[str] | None, typer.Option("--machine", metavar="NAME", help="Only this machine; may be repeated.")
]

_WITHOUT_METRIC: Final = ("disk-full", "away", "clock", "rejected")
OPTIONS: Final = {
    "name": "the name",
    "title": "--title",
    "kind": "--kind",
    "metric": "--metric",
    "device": "--device",
    "threshold": "the threshold",
    "for_seconds": "--for",
    "clear_threshold": "--clear-at",
    "clear_seconds": "--clear-for",
    "severity": "--severity",
    "selector.labels": "--label",
    "selector.systems": "--system",
    "selector.versions": "--agent-version",
    "selector.machines": "--machine",
}
"""Options that give the fields of a rule."""


def condition(
    *,
    metric: str | None,
    device: str | None,
    above: float | None,
    below: float | None,
    rate: bool,
    kind: str | None,
    threshold: float | None,
) -> dict[str, Any]:
    """Return the fields of the condition that these options name. Raises UserError if they contradict each other."""
    if sum(each is not None for each in (above, below, kind)) > 1:
        raise UserError("name one of --above, --below and --kind")
    if threshold is not None and (above is not None or below is not None):
        raise UserError("--above and --below contain the threshold: leave out --threshold")
    if rate and above is None and below is None:
        raise UserError("--rate needs --above or --below")
    found: dict[str, Any] = {}
    if above is not None or below is not None:
        side = "below" if above is None else "above"
        found |= {"kind": f"rate-{side}" if rate else side, "threshold": below if above is None else above}
    elif kind is not None:
        found |= {"kind": kind, "threshold": threshold, "clear_threshold": None}
        if kind in _WITHOUT_METRIC:
            found["metric"] = ""
        if kind != "above":
            found["device"] = ""
        if kind == "changed":
            found |= {"for_seconds": 0.0}
    elif threshold is not None:
        found["threshold"] = threshold
    named = {"metric": metric, "device": device}
    return {**found, **{name: value for name, value in named.items() if value is not None}}


def durations(*, for_: str | None, clear_at: float | None, clear_for: str | None) -> dict[str, Any]:
    """Return the fields of the durations that these options name. Raises UserError."""
    seconds = {"for_seconds": for_, "clear_seconds": clear_for}
    found: dict[str, Any] = {
        name: 0.0 if text.strip() in ("0", "0s") else to_seconds(text)
        for name, text in seconds.items()
        if text is not None
    }
    return found if clear_at is None else {**found, "clear_threshold": clear_at}


def selector(
    *, label: list[str] | None, system: list[str] | None, version: list[str] | None, machine: list[str] | None
) -> dict[str, Any]:
    """Return the fields of the selector that these options name. Raises UserError."""
    found: dict[str, Any] = {} if label is None else {"labels": to_labels(label)}
    lists = {"systems": system, "versions": version, "machines": machine}
    return found | {name: tuple(values) for name, values in lists.items() if values is not None}


def make_rule(fields: dict[str, Any]) -> "AlertRule":
    """Return the rule with these fields. Raises UserError if it is not valid."""
    from pydantic import ValidationError

    from runtime.sentences.validation_errors import first_sentence
    from schemas.contract.alert_rules import AlertRule

    try:
        return AlertRule.model_validate(fields)
    except ValidationError as error:
        sentence = first_sentence(error, OPTIONS)
        option = ", such as --metric cpu_percent" if sentence.endswith("needs a metric") else ""
        raise UserError(sentence + option) from None
