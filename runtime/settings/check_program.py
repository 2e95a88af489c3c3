"""A check in the settings of an agent, `[agent.checks.NAME]`: a program of the machine's owner, run regularly."""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

CheckFormat = Literal["nagios", "json", "lines"]


class CheckProgram(BaseModel):
    """A check. `argv` is run as it is, without a shell; `format` says how its output is read (docs/checks.md).

    Without an interval it is run at each reading of devices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    argv: Annotated[list[str], Field(min_length=1, max_length=256)]
    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    format: CheckFormat = "nagios"

    @field_validator("argv")
    @classmethod
    def _starts_with_a_path(cls, argv: list[str]) -> list[str]:
        if not PurePath(argv[0]).is_absolute():
            raise ValueError("the first element of argv must be the absolute path of a program")
        if any("\0" in element for element in argv):
            raise ValueError("argv cannot hold a NUL")
        return argv


def require_interval(what: str, seconds: float | None, detail_seconds: float) -> None:
    """Raise ValueError if something is to run more often than its results travel: with the readings of devices."""
    if seconds is not None and seconds < detail_seconds:
        raise ValueError(
            f"the interval_seconds of {what} is less than the detail_interval_seconds of the agent "
            f"({detail_seconds:g}): write at least that, or leave it out to run at each reading of devices"
        )
