"""Parameters of an operation in the query of an address.

Invariants:
- Every parameter has a type and bounds; an unknown one, and a second value of one that has a single value, is an error.
- The text of a number is decimal digits only: no sign, no space, no fraction.
"""

import re
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from dashboard.api.problem import ApiParameterProblem, ProblemError
from schemas.contract.messages import INTEGER_MAX
from schemas.contract.topics import ID_PATTERN, MACHINE_MAX_LENGTH

TEXT_MAX: Final = 200
VALUES_MAX: Final = 64
"""Values of one parameter."""

_DIGITS: Final = re.compile(r"[0-9]{1,16}")


def _integer(value: Any) -> Any:  # noqa: ANN401 - as pydantic passes it
    if isinstance(value, str):
        if not _DIGITS.fullmatch(value):
            raise ValueError("must be a number in decimal digits")
        return int(value)
    return value


def _flag(value: Any) -> Any:  # noqa: ANN401 - as pydantic passes it
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError("must be true or false")
        return value == "true"
    return value


DIGITS: Final = BeforeValidator(_integer)
"""Written last in an annotation of int, so that the bounds are in the OpenAPI document."""

Flag = Annotated[bool, BeforeValidator(_flag)]
Moment = Annotated[int, Field(ge=0, le=INTEGER_MAX), DIGITS]
"""A time in milliseconds UTC since 1970."""
SearchText = Annotated[str, Field(max_length=TEXT_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
MachineName = Annotated[str, Field(pattern=ID_PATTERN, max_length=MACHINE_MAX_LENGTH)]
DeviceName = Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Label = Annotated[str, Field(max_length=127, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?=[^\x00-\x1f\x7f]+$")]


class Parameters(BaseModel):
    """Base of the parameters of an operation."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


P = TypeVar("P", bound=Parameters)


def parse(model: type[P], query: QueryParams) -> P:
    """Return the parameters of a query. Raises ProblemError."""
    many = {field.alias or name for name, field in model.model_fields.items() if is_list(field.annotation)}
    values: dict[str, Any] = {}
    for name in query:
        found = query.getlist(name)
        if name not in many and len(found) > 1:
            raise _invalid([(name, "is given more than once")])
        values[name] = found if name in many else found[0]
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _invalid([(_parameter(each["loc"]), _sentence(each)) for each in error.errors()]) from None


def is_list(annotation: Any) -> bool:  # noqa: ANN401 - a type
    """Return whether a field of this type is a parameter that may be given several times."""
    return get_origin(annotation) is tuple


def _parameter(place: tuple[int | str, ...]) -> str:
    return str(place[0])[:TEXT_MAX] if place else ""


def _sentence(error: Any) -> str:  # noqa: ANN401 - pydantic's details of an error
    if error["type"] == "extra_forbidden":
        return "there is no such parameter"
    return str(error["msg"]).removeprefix("Value error, ")


def _invalid(errors: list[tuple[str, str]]) -> ProblemError:
    told = tuple(ApiParameterProblem(parameter=name, detail=detail) for name, detail in errors)
    detail = "; ".join(f"{name}: {sentence}" for name, sentence in errors)
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, errors=told)
