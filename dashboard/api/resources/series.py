"""GET /machines/{machine}/series: the readings of a machine's devices in any time range, as columns."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.parameters import DIGITS, VALUES_MAX, DeviceName
from dashboard.api.problem import ApiParameterProblem, ProblemError, not_found
from dashboard.api.time_range import ApiCompleteness, RangeParameters, complete
from schemas.contract.messages import INTEGER_MAX, MetricName
from schemas.database.paged.machine_pages import find_machine_state
from schemas.database.queries.history import count_samples
from schemas.database.queries.settings import read_settings
from schemas.database.series.history import Rows, TooManyStepsError, read_device_history
from schemas.fleet.history import HOURS, SAMPLES, Resolution, choose_resolution

METRICS_MAX: Final = 8
POINTS_MAX: Final = 10_000
READINGS_MAX: Final = 200_000
SeriesResolutionName = Literal["samples", "hours"]
_RESOLUTIONS: Final[dict[str, Resolution]] = {"samples": SAMPLES, "hours": HOURS}


class SeriesParameters(RangeParameters):
    """Which readings of which devices, how fine."""

    metric: Annotated[tuple[MetricName, ...], Field(min_length=1, max_length=METRICS_MAX)] = Field(
        description="Metrics of series to return"
    )
    device: Annotated[tuple[DeviceName, ...], Field(max_length=VALUES_MAX)] = Field(
        (), description="Devices to return, by their whole name; all if missing"
    )
    resolution: SeriesResolutionName | None = Field(
        None, description="What to read; if missing, samples unless hours suffice or the samples are no longer kept"
    )
    points: Annotated[int, Field(ge=1, le=POINTS_MAX), DIGITS] = Field(
        1000, description="Most points of a device to return: the step is made long enough"
    )
    step: Annotated[int, Field(ge=1, le=INTEGER_MAX), DIGITS] | None = Field(
        None, description="Least milliseconds between two points"
    )


class ApiDeviceReadings(ApiModel):
    """The readings of one metric of one device, the oldest point first; a step without a reading has no point.

    `at`: the time of the last reading in the step, or the beginning of its last hour. A gauge has its `average`, and
    from hours also its `minimum` and `maximum`. A counter has its highest value as `maximum` only.
    """

    at: list[int]
    average: list[float | None] | None
    minimum: list[float | None] | None
    maximum: list[float | None] | None


class ApiSeries(ApiModel):
    """The readings of a machine's devices from `from` until before `to`.

    `series`: by metric, then by device; a metric without readings has no device. `completeness.samples` counts whole
    minutes that are kept; only some of these samples have series.
    """

    machine: str
    start: int = Field(serialization_alias="from")
    end: int = Field(serialization_alias="to")
    resolution: SeriesResolutionName
    step_milliseconds: int
    series: dict[str, dict[str, ApiDeviceReadings]]
    completeness: ApiCompleteness


def read(request: ApiRequest, wanted: SeriesParameters) -> ApiSeries:
    """Return the readings."""
    row = find_machine_state(request.engine, request.org, request.names["machine"])
    if row is None:
        raise not_found("machine")
    start, end = wanted.span(request.now)
    least = max(wanted.step or 1, -(-(end - start) // wanted.points))
    kept = _resolution(request, wanted, least, start)
    step = -(-least // kept.length) * kept.length if kept.length else least
    chosen = tuple(dict.fromkeys(wanted.metric))
    counters = _counters(row.info)
    # a query's range excludes its start and includes its end
    try:
        found = read_device_history(
            request.engine,
            row.id,
            chosen,
            start=start - 1,
            end=end - 1,
            step=step,
            resolution=kept,
            counters=counters,
            devices=wanted.device,
            steps_max=READINGS_MAX,
        )
    except TooManyStepsError:
        raise _too_many() from None
    samples = count_samples(request.engine, row.id, start=start, end=end)
    return ApiSeries.model_construct(
        machine=row.name,
        start=start,
        end=end,
        resolution="hours" if kept == HOURS else "samples",
        step_milliseconds=step,
        series={metric: _devices(found.get(metric, {}), counts=metric in counters) for metric in chosen},
        completeness=complete(request, row.id, samples, (start, end)),
    )


def _resolution(request: ApiRequest, wanted: SeriesParameters, step: int, start: int) -> Resolution:
    """Return the wanted resolution, or the one for these points; series have no roll-ups per minute."""
    if wanted.resolution is not None:
        return _RESOLUTIONS[wanted.resolution]
    _config, retention = read_settings(request.engine, request.org)
    return HOURS if choose_resolution(step=step, age=request.now - start, retention=retention) == HOURS else SAMPLES


def _counters(info: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the metrics that the machine describes as counters."""
    return frozenset(each["name"] for each in (info or {}).get("metrics", ()) if each.get("kind") == "counter")


def _too_many() -> ProblemError:
    detail = f"the answer would have more than {READINGS_MAX} readings: ask for fewer points"
    told = ApiParameterProblem(parameter="points", detail="choose fewer points, metrics or devices")
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, errors=(told,))


def _devices(found: Mapping[str, Rows], *, counts: bool) -> dict[str, ApiDeviceReadings]:
    return {device: _readings(points, counts=counts) for device, points in sorted(found.items())}


def _readings(points: Rows, *, counts: bool) -> ApiDeviceReadings:
    values = [point["value"] for point in points]
    ranges = {bound: [point[bound] for point in points] for bound in ("value:min", "value:max") if bound in points[0]}
    return ApiDeviceReadings.model_construct(
        at=[point["at"] for point in points],
        average=None if counts else values,
        minimum=ranges.get("value:min"),
        maximum=values if counts else ranges.get("value:max"),
    )


OPERATION = Operation(
    id="getSeries",
    path="/machines/{machine}/series",
    summary="Get the readings of a machine's devices in a time range",
    parameters=SeriesParameters,
    answer=ApiSeries,
    read=read,
)
