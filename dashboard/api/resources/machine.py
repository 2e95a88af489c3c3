"""GET /machines/{machine}: one machine with its inventory and newest values."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from dashboard.api.machine_models import ApiMachine, machine_fields
from dashboard.api.operation import ApiRequest, Operation
from dashboard.api.parameters import Parameters
from dashboard.api.problem import not_found
from schemas.database.paged.machine_pages import find_machine_state
from schemas.database.queries.heartbeat import find_trouble
from schemas.database.series.latest import read_latest


class MachineParameters(Parameters):
    """The operation has no parameters."""


class ApiMachineDetails(ApiMachine):
    """A machine with its inventory. `info`: the last message Info of the contract; null if there was none.

    `series`: its newest readings per device, by metric and device, of the time `series_as_of`; null if there are none.
    `created_at`: when the machine enrolled or was first heard. `trouble`: why no value is current; empty if all is
    well.
    """

    created_at: int
    info: dict[str, JsonValue] | None
    series: dict[str, dict[str, float]]
    series_as_of: int | None
    trouble: str


def read(request: ApiRequest, _parameters: MachineParameters) -> Mapping[str, Any]:
    """Return the machine, the fields of ApiMachineDetails."""
    row = find_machine_state(request.engine, request.org, request.names["machine"])
    if row is None:
        raise not_found("machine")
    trouble = find_trouble(request.engine, now=request.now)
    latest = read_latest(request.engine, request.org, [row.name]).get(row.name)
    more = {
        "created_at": row.created_at,
        "info": row.info,
        "series": {} if latest is None else latest.readings,
        "series_as_of": None if latest is None else latest.as_of,
        "trouble": trouble,
    }
    return {**machine_fields(row, trouble), **more}


OPERATION = Operation(
    id="getMachine",
    path="/machines/{machine}",
    summary="Get one machine with its inventory and newest values",
    parameters=MachineParameters,
    answer=ApiMachineDetails,
    read=read,
)
