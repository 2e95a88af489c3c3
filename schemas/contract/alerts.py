"""Messages about alerts and incidents, which the ingestor publishes and the broker retains, and the requests that
acknowledge alerts or withdraw that, add silences and end them.

Invariants:
- Acknowledging and silencing change who is notified, never what is recorded. The ingestor decides both and publishes
  the message again; a reader obeys the message and needs to know neither schedules nor labels.
- A silence has a reason and a bound: one that happens once ends after SILENCE_MAX_SECONDS at most, a weekly one lasts
  at most a day each time.
- Times are the server's clock.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from schemas.contract.machine_selector import MachineSelector
from schemas.contract.messages import ContractModel, Count, Identifier, Labels, Milliseconds, Payload, Reading
from schemas.contract.text import Code, Line, Text, Title

COMMENT_MAX = 500
SILENCE_MAX_SECONDS = 30 * 86_400
ACKNOWLEDGED_MAX = 200
"""Alerts that one request acknowledges."""
INCIDENT_NAMES_MAX = 64
INCIDENT_SEVERITIES: Mapping[str, str] = {
    "mass-silence": "critical",
    "blind": "critical",
    "cloned-identity": "warning",
    "noisy": "warning",
    "target-down": "critical",
}
"""The severity of each kind of incident; another kind is a warning."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

DAYS: tuple[Day, ...] = get_args(Day)
"""Days of the week, in the order of `datetime.date.weekday`."""

LocalTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

Comment = Annotated[Line, Field(max_length=COMMENT_MAX)]
"""A reason in the words of a person."""


class Acknowledgement(ContractModel):
    """Acknowledgement of an alert: the person as the principal states it, the time, and the person's comment."""

    by: Text
    at: Milliseconds
    comment: Comment = ""


class AlertMessage(Payload):
    """An active alert, retained on `_alerts/{machine}/{rule}`; an empty payload when it is resolved.

    `id` identifies the alert: late data may correct `since`, the start of the condition. `title` and `detail` are for
    people. `value` is the reading that began the alert, in `unit`. `silenced_until` is the end of the silence that
    applies now: nobody is to be notified before; null: no silence applies.
    """

    rule: Identifier
    title: Title
    severity: Literal["warning", "critical"]
    since: Milliseconds
    detail: Text = ""
    id: Count | None = None
    hostname: Text | None = None
    labels: Labels = Field(default={})
    value: Reading | None = None
    unit: Code | None = None
    acknowledged: Acknowledgement | None = None
    silenced_until: Milliseconds | None = None
    silence_reason: Comment = ""


class ResolvedMessage(AlertMessage):
    """The last alert of a rule that ended, retained on `_resolved/{machine}/{rule}` for an hour after its end.

    `past`: it lay entirely in the past when it became known, so it was never active. `withdrawn`: it ended because its
    rule was changed, disabled or removed, or its machine was retired; whether its condition still holds is not known.
    """

    until: Milliseconds
    past: bool = False
    withdrawn: bool = False


class IncidentMessage(Payload):
    """An incident of an organisation, retained on `_incidents/{incident}` until an hour after its end.

    `machines` are the names of at most 64 of the `machine_count` machines that it concerns; none for an incident of the
    organisation as a whole. `label` is a label that all of them have (`site=nantes`), if there is one. `target` is the
    target of a reachability probe that is down.
    """

    id: Count
    kind: Code
    since: Milliseconds
    until: Milliseconds | None = None
    machines: Annotated[tuple[Identifier, ...], Field(max_length=INCIDENT_NAMES_MAX, strict=False)] = ()
    machine_count: Count = 0
    label: Text = ""
    target: Text = Field(default="", exclude_if=lambda target: not target)


def check_zone(name: str) -> str:
    """Return the name of a time zone. Raises ValueError if there is none of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name is that of a directory
        raise ValueError(f"there is no time zone {name!r}: write a name such as Europe/Paris") from None
    return name


ZoneName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$"), AfterValidator(check_zone)]


class Weekly(ContractModel):
    """A window that begins at `start` on each of these days, in local time, and ends at the next `end`.

    `end` is on the following day unless it is later than `start`. See `schemas.fleet.silences` for the days on which
    clocks are changed.
    """

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7, strict=False)]
    start: LocalTime
    end: LocalTime
    zone: ZoneName


class Acknowledge(ContractModel):
    """Acknowledge these open alerts, by the `id` of their messages, until they are resolved."""

    kind: Literal["acknowledge"] = "acknowledge"
    alerts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=ACKNOWLEDGED_MAX, strict=False)]
    comment: Comment = ""


class Unacknowledge(ContractModel):
    """Withdraw the acknowledgement of these open alerts, so that people are reminded of them again."""

    kind: Literal["unacknowledge"] = "unacknowledge"
    alerts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=ACKNOWLEDGED_MAX, strict=False)]


class AddSilence(ContractModel):
    """Silence the alerts of the selected machines, of one rule or of all.

    Either once, for `lifetime_seconds` from `starts_at` on (null: now), or weekly until it is ended.
    """

    kind: Literal["silence"] = "silence"
    selector: MachineSelector = MachineSelector()
    rule: Identifier | None = None
    reason: Annotated[Line, Field(min_length=1, max_length=COMMENT_MAX)]
    starts_at: Milliseconds | None = None
    lifetime_seconds: Annotated[int, Field(ge=1, le=SILENCE_MAX_SECONDS)] | None = None
    weekly: Weekly | None = None

    @model_validator(mode="after")
    def _is_once_or_weekly(self) -> Self:
        if (self.lifetime_seconds is None) == (self.weekly is None):
            raise ValueError("a silence has either a lifetime or a weekly schedule")
        if not self.reason.strip():
            raise ValueError("a silence needs a reason")
        return self


class EndSilence(ContractModel):
    """End a silence now, or cancel one that is planned."""

    kind: Literal["end-silence"] = "end-silence"
    id: Count


AlertChange = Acknowledge | Unacknowledge | AddSilence | EndSilence
"""Changes that every operator may request."""
