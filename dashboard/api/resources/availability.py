"""GET /machines/{machine}/availability: how long one machine was there in a time range."""

from typing import Annotated

from pydantic import Field

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.problem import not_found
from dashboard.api.time_range import ApiCompleteness, RangeParameters, complete
from schemas.database.paged.machine_pages import find_machine_state
from schemas.database.queries.history import count_samples
from schemas.database.queries.incidents import list_blind_spans
from schemas.database.queries.report import read_machine_presence
from schemas.fleet.availability import measure_availability


class ApiAvailability(ApiModel):
    """Availability from `from` until before `to`: the share of the counted time that the machine was there.

    Not counted is the time before the machine was first heard, while it is retired, and while the server could not
    listen. `share` is null without counted time. `announced_seconds` is the part of `away_seconds` after a goodbye,
    `longest_seconds` the longest of the `absences`. `completeness.samples` counts whole minutes that are kept.
    """

    machine: str
    start: int = Field(serialization_alias="from")
    end: int = Field(serialization_alias="to")
    share: Annotated[float, Field(ge=0, le=1)] | None
    there_seconds: float
    away_seconds: float
    announced_seconds: float
    longest_seconds: float
    absences: int
    completeness: ApiCompleteness


def read(request: ApiRequest, wanted: RangeParameters) -> ApiAvailability:
    """Return the availability."""
    name = request.names["machine"]
    row = find_machine_state(request.engine, request.org, name)
    if row is None:
        raise not_found("machine")
    start, end = wanted.span(request.now)
    end = max(start + 1, min(end, request.now))  # what has not happened yet is not counted
    blind = list_blind_spans(request.engine, request.org, (start, end))
    first, changes = read_machine_presence(request.engine, row.id, row.presence, row.since_at, (start, end))
    found = measure_availability(first, changes, within=(start, end), blind=blind)
    samples = count_samples(request.engine, row.id, start=start, end=end)
    return ApiAvailability(
        machine=name,
        start=start,
        end=end,
        share=found.share,
        there_seconds=found.there / 1000,
        away_seconds=found.away / 1000,
        announced_seconds=found.announced / 1000,
        longest_seconds=found.longest / 1000,
        absences=found.times,
        completeness=complete(request, row.id, samples, (start, end)),
    )


OPERATION = Operation(
    id="getAvailability",
    path="/machines/{machine}/availability",
    summary="Get the availability of one machine in a time range",
    parameters=RangeParameters,
    answer=ApiAvailability,
    read=read,
)
