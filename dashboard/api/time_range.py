"""Time ranges of one machine in parameters, and how complete its data is in them."""

from http import HTTPStatus
from typing import Annotated, Final

from pydantic import Field

from dashboard.api.operation import ApiModel, ApiRequest
from dashboard.api.parameters import Moment, Parameters
from dashboard.api.problem import ApiParameterProblem, ProblemError
from schemas.database.queries.incidents import list_blind_spans
from schemas.database.queries.machines import read_ledgers
from schemas.fleet.availability import Span
from schemas.fleet.completeness import Completeness
from schemas.fleet.history import HOUR
from schemas.fleet.ledger import Ledger

_DEFAULT_LENGTH: Final = HOUR


class RangeParameters(Parameters):
    """A time range."""

    start: Moment | None = Field(None, alias="from", description="Start, included; an hour before the end if missing")
    end: Moment | None = Field(None, alias="to", description="End, excluded; now if missing")

    def span(self, now: int) -> Span:
        """Return the range in milliseconds. Raises ProblemError if it does not end after its start."""
        end = now if self.end is None else self.end
        start = max(0, end - _DEFAULT_LENGTH) if self.start is None else self.start
        if start >= end:
            told = ApiParameterProblem(parameter="from", detail="must be before the end of the range")
            raise ProblemError(HTTPStatus.BAD_REQUEST, "the range must begin before its end", errors=(told,))
        return start, end


class ApiCompleteness(ApiModel):
    """How complete the data is. `samples` are in the range; the other numbers are those of the machine's ledger.

    `expected`, `stored` and `late` (stored from a backfill) count from the machine's first sample: if all are stored,
    the range is complete, too. `not_listening_seconds` is the time of the range during which the server could not
    listen.
    """

    samples: Annotated[int, Field(ge=0)]
    expected: int
    stored: int
    late: int
    not_listening_seconds: float


def complete(request: ApiRequest, machine_id: int, samples: int, within: Span) -> ApiCompleteness:
    """Return how complete a machine's data is in a range with these samples."""
    ledger = read_ledgers(request.engine, machine_id=machine_id).get(machine_id, Ledger())
    found = Completeness.of(samples, ledger, list_blind_spans(request.engine, request.org, within), within)
    return ApiCompleteness(**{name: getattr(found, name) for name in ApiCompleteness.model_fields})
