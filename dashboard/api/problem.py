"""Errors of the HTTP API, as RFC 9457 describes them.

Invariant: a problem says what to do, and nothing of what the client may not see.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE: Final = "application/problem+json"


class ApiParameterProblem(BaseModel):
    """A parameter that is not valid."""

    model_config = ConfigDict(frozen=True)

    parameter: str
    detail: str


class ApiProblem(BaseModel):
    """An error (RFC 9457). `title` is the phrase of the status; `detail` says what to do."""

    model_config = ConfigDict(frozen=True)

    type: str = Field("about:blank", description="Always about:blank: the status tells the kind of the problem")
    title: str
    status: int
    detail: str
    errors: tuple[ApiParameterProblem, ...] = Field((), description="The parameters that are not valid")


class ProblemError(Exception):
    """A request that is answered with a problem. `headers`: in addition to the usual ones."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: tuple[ApiParameterProblem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.problem = ApiProblem(title=status.phrase, status=status.value, detail=detail, errors=errors)


def not_found(what: str) -> ProblemError:
    """Return the error for something that does not exist, or belongs to another organisation."""
    return ProblemError(HTTPStatus.NOT_FOUND, f"there is no such {what}")
