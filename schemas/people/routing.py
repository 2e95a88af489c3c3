"""Choice of the recipients of alerts: routes, quiet hours and preferences, as they are stored and edited.

Invariants:
- A destination without routes receives every alert of its organisation; with routes, those that at least one matches.
- Quiet hours are local times in an IANA time zone. They are compared with the local time of each moment, so an hour
  that a clock change repeats is quiet twice, and one that it skips does not occur.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.contract.messages import Identifier, Labels

WINDOWS_MAX = 14
ROUTES_MAX = 20
NAMES_MAX = 50
REPEAT_MIN_SECONDS = 300

SeverityName = Literal["warning", "critical"]
LanguageCode = Literal["en", "es", "fr", "ru"]


def _time(text: str) -> str:
    minutes(text)
    return text


@cache
def _zones() -> frozenset[str]:
    """Return the names of all time zones, which are read from hundreds of directory entries."""
    return frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError(f"there is no time zone {name!r}: write an IANA name such as Europe/Paris")
    return name


def minutes(text: str) -> int:
    """Return the minutes since midnight of a time HH:MM. Raises ValueError."""
    hour, colon, minute = text.partition(":")
    valid = colon and all(len(each) == 2 and each.isascii() and each.isdecimal() for each in (hour, minute))
    if not valid or int(hour) > 23 or int(minute) > 59:
        raise ValueError(f"{text!r} is not a time: write 22:00")
    return int(hour) * 60 + int(minute)


LocalTime = Annotated[str, AfterValidator(_time)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class RoutingModel(BaseModel):
    """Base of the stored settings: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class QuietWindow(RoutingModel):
    """Quiet hours from `start` to `end`, which may be on the next day. `days`: of the start, 0 for Monday."""

    days: frozenset[Annotated[int, Field(ge=0, le=6)]] = frozenset(range(7))
    start: LocalTime
    end: LocalTime

    def contains(self, local: datetime) -> bool:
        """Return True if a local time is in the window. A window whose start is its end lasts a whole day."""
        now, start, end = local.hour * 60 + local.minute, minutes(self.start), minutes(self.end)
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        if start < end:
            return today and start <= now < end
        return (today and now >= start) or (yesterday and now < end)


class Preferences(RoutingModel):
    """Preferences of a destination, or of all destinations of a person.

    `severity` is the lowest that is told. Alerts that wait for the end of quiet hours are told then if they still last.
    `repeat_seconds`: interval of reminders until the alert is acknowledged or over; 0 for none. Alerts that become due
    within `group_seconds` share a message, unless the labels in `group_by` differ.
    """

    language: LanguageCode = "en"
    zone: ZoneName = "UTC"
    quiet: Annotated[tuple[QuietWindow, ...], Field(max_length=WINDOWS_MAX)] = ()
    quiet_for_critical: bool = False
    severity: SeverityName = "warning"
    recovery: bool = True
    repeat_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = 0
    group_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.5
    group_by: Annotated[tuple[Identifier, ...], Field(max_length=8)] = ()

    @model_validator(mode="after")
    def _reminders_are_rare(self) -> Self:
        if 0 < self.repeat_seconds < REPEAT_MIN_SECONDS:
            raise ValueError(f"reminders are at least {REPEAT_MIN_SECONDS // 60} minutes apart")
        return self

    def is_quiet(self, severity: str, now: int) -> bool:
        """Return True if an alert of this severity waits at this time (milliseconds)."""
        if not self.quiet or (severity == "critical" and not self.quiet_for_critical):
            return False
        local = datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(self.zone))
        return any(window.contains(local) for window in self.quiet)


class Route(RoutingModel):
    """Alerts that a destination receives: those that match every criterion that is not empty.

    `rules` may name kinds of incidents too. `after_seconds`: tell only alerts that are not acknowledged and not over by
    then, as a step of an escalation.
    """

    labels: Labels = Field(default_factory=dict)
    machines: Annotated[tuple[Identifier, ...], Field(max_length=NAMES_MAX)] = ()
    rules: Annotated[tuple[Identifier, ...], Field(max_length=NAMES_MAX)] = ()
    severities: frozenset[SeverityName] = frozenset()
    after_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = 0
