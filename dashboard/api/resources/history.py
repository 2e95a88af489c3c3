"""GET /machines/{machine}/history: the readings of one machine in any time range, as columns."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.parameters import DIGITS, VALUES_MAX
from dashboard.api.problem import not_found
from dashboard.api.time_range import ApiCompleteness, RangeParameters, complete
from schemas.contract.messages import INTEGER_MAX, VITALS, MetricName
from schemas.database.paged.machine_pages import find_machine_key
from schemas.database.queries.history import COUNTERS, read_history
from schemas.database.queries.settings import read_settings
from schemas.fleet.history import HOURS, MINUTES, SAMPLES, Resolution, choose_resolution

POINTS_MAX: Final = 10_000
ResolutionName = Literal["samples", "minutes", "hours"]
_RESOLUTIONS: Final[dict[str, Resolution]] = {"samples": SAMPLES, "minutes": MINUTES, "hours": HOURS}
_NAMES: Final[dict[str, ResolutionName]] = {"sample": "samples", "minute": "minutes", "hour": "hours"}


class HistoryParameters(RangeParameters):
    """Which readings, how fine."""

    resolution: ResolutionName | None = Field(
        None, description="What to read; if missing, the finest that is kept for the range and has a row for each point"
    )
    points: Annotated[int, Field(ge=1, le=POINTS_MAX), DIGITS] = Field(
        1000, description="Most points to return: the step is made long enough"
    )
    step: Annotated[int, Field(ge=1, le=INTEGER_MAX), DIGITS] | None = Field(
        None, description="Least milliseconds between two points"
    )
    metric: Annotated[tuple[MetricName, ...], Field(max_length=VALUES_MAX)] = Field(
        (), description="Vitals and extra metrics to return; all vitals if missing"
    )


class ApiReadings(ApiModel):
    """The readings of one metric, a value for each point; null where none was measured.

    A gauge has its `average`, and from minutes and hours also its `minimum` and `maximum`. A counter, such as
    network_sent_bytes, has its highest value as `maximum` only. A column that does not exist is null.
    """

    average: list[float | None] | None
    minimum: list[float | None] | None
    maximum: list[float | None] | None


class ApiHistory(ApiModel):
    """The history of a machine from `from` until before `to`, the oldest point first.

    `at` is the time of each point: of the last sample, or of the beginning of the last minute or hour in its step.
    A step without stored data has no point. `samples` is the number of samples in each point.
    """

    machine: str
    start: int = Field(serialization_alias="from")
    end: int = Field(serialization_alias="to")
    resolution: ResolutionName
    step_milliseconds: int
    at: list[int]
    samples: list[int]
    readings: dict[str, ApiReadings]
    completeness: ApiCompleteness


def read(request: ApiRequest, wanted: HistoryParameters) -> ApiHistory:
    """Return the history."""
    name = request.names["machine"]
    key = find_machine_key(request.engine, request.org, name)
    if key is None:
        raise not_found("machine")
    start, end = wanted.span(request.now)
    least = max(wanted.step or 1, -(-(end - start) // wanted.points))
    kept = _resolution(request, wanted, least, start)
    step = -(-least // kept.length) * kept.length if kept.length else least
    chosen = tuple(dict.fromkeys(wanted.metric)) or VITALS
    vitals, extras = [each for each in chosen if each in VITALS], [each for each in chosen if each not in VITALS]
    # a query's range excludes its start and includes its end
    rows = read_history(
        request.engine, key, start=start - 1, end=end - 1, step=step, resolution=kept, extras=extras, vitals=vitals
    )
    counted = [int(row["samples"]) for row in rows]
    readings = {each: _readings(rows, each, f"extra.{each}" if each in extras else each) for each in chosen}
    return ApiHistory.model_construct(
        machine=name,
        start=start,
        end=end,
        resolution=_NAMES[kept.table],
        step_milliseconds=step,
        at=[int(row["at"]) for row in rows],
        samples=counted,
        readings=readings,
        completeness=complete(request, key, sum(counted), (start, end)),
    )


def _resolution(request: ApiRequest, wanted: HistoryParameters, step: int, start: int) -> Resolution:
    if wanted.resolution is not None:
        return _RESOLUTIONS[wanted.resolution]
    _config, retention = read_settings(request.engine, request.org)
    return choose_resolution(step=step, age=request.now - start, retention=retention)


def _readings(rows: Sequence[dict[str, Any]], metric: str, column: str) -> ApiReadings:
    counts = metric in COUNTERS
    first = rows[0] if rows else {}

    def values(name: str) -> list[float | None] | None:
        return [row[name] for row in rows] if name in first else None

    return ApiReadings.model_construct(
        average=None if counts else values(column),
        minimum=values(f"{column}:min"),
        maximum=values(column if counts else f"{column}:max"),
    )


OPERATION = Operation(
    id="getHistory",
    path="/machines/{machine}/history",
    summary="Get the readings of one machine in a time range",
    parameters=HistoryParameters,
    answer=ApiHistory,
    read=read,
)
