"""The SQL of requests and commands.

Invariants:
- `write_changes` runs in the transaction of its batch.
- A request or command is inserted once: its id is the key. A second insert raises IntegrityError, after which the
  ingestor reloads everything, and finds it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine, Select, bindparam, select
from sqlalchemy.engine import Connection, Row

from ingestor.domain.command import OPEN, OUTCOME_FIELDS, Command
from ingestor.domain.command_changes import CommandChange, CommandChanges, RequestRecord
from ingestor.domain.rollout import RolloutKey, RolloutProgress
from schemas.contract.commands import CommandState, Desired, Rollout
from schemas.contract.messages import Signed
from schemas.database import tables
from schemas.database.engine import storable

_COMMAND, _REQUEST, _HISTORY, _MACHINE = tables.command, tables.request, tables.command_transition, tables.machine
_FIXED = ("id", "machine_id", "action", "expires_at", "created_at")
_CHANGING = ("state", *OUTCOME_FIELDS, "attempts", "sent_at", "running_at", "ended_at")
"""The columns of a command that change after its creation."""


class CommandStore:
    """Reads requests and commands."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_commands(self) -> list[Command]:
        """Return the open commands, oldest first."""
        states = [state.value for state in OPEN]
        query = _commands().where(_COMMAND.c.state.in_(states)).order_by(_COMMAND.c.created_at)
        with self._engine.connect() as connection:
            return [_command(row) for row in connection.execute(query)]

    def commands(self, ids: Iterable[str]) -> dict[str, Command]:
        """Return the commands with these ids that exist, by id."""
        wanted = list(ids)
        if not wanted:
            return {}
        with self._engine.connect() as connection:
            return {row.id: _command(row) for row in connection.execute(_commands().where(_COMMAND.c.id.in_(wanted)))}

    def request(self, id_: str) -> RequestRecord | None:
        """Return the request with this id, or None."""
        with self._engine.connect() as connection:
            return find_request(connection, id_)

    def requests(self, key: RolloutKey) -> list[RequestRecord]:
        """Return the requests of one batch, oldest first."""
        org, principal, batch = key
        query = _requests().where(_REQUEST.c.batch == batch, _REQUEST.c.principal == principal)
        query = query.where(tables.org.c.name == org).order_by(_REQUEST.c.created_at, _REQUEST.c.id)
        with self._engine.connect() as connection:
            return [_request(row) for row in connection.execute(query)]

    def progress(self, requests: list[RequestRecord]) -> RolloutProgress | None:
        """Return the progress of the rollout of one batch's requests; None if they hold nothing back."""
        rollout = next((request.rollout for request in requests if request.rollout is not None), None)
        if rollout is None:
            return None
        ids = [request.id for request in requests]
        progress = RolloutProgress(rollout, any(request.state == "stopped" for request in requests), requests=ids)
        query = (
            select(_COMMAND.c.id, _COMMAND.c.state, _COMMAND.c.attempts, _COMMAND.c.sent_at)
            .join(_HISTORY, _HISTORY.c.command_id == _COMMAND.c.id)
            .where(_COMMAND.c.request_id.in_(ids), _HISTORY.c.before == "")
            .order_by(_HISTORY.c.id)
        )
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                if row.attempts or row.state != CommandState.REJECTED:  # else it was never part of it
                    progress.record(row.id, CommandState(row.state))
                if row.attempts:
                    progress.sent(row.sent_at)
        return progress

    def desired(self) -> dict[int, Desired]:
        """Return the desired configuration of each machine, by machine id."""
        query = select(_MACHINE.c.id, _MACHINE.c.desired).where(_MACHINE.c.desired_version > 0)
        with self._engine.connect() as connection:
            found = {row.id: _desired(row.desired) for row in connection.execute(query)}
        return {id_: desired for id_, desired in found.items() if desired is not None}


def find_request(connection: Connection, id_: str) -> RequestRecord | None:
    """Return the request with this id, or None."""
    row = connection.execute(_requests().where(_REQUEST.c.id == id_)).one_or_none()
    return None if row is None else _request(row)


def insert_request(connection: Connection, request: RequestRecord) -> None:
    """Insert a new request."""
    connection.execute(_REQUEST.insert().values(_request_row(request)))


def write_changes(connection: Connection, changes: CommandChanges, insert: Any) -> None:  # noqa: ANN401 - the dialect's
    """Store changes as a part of a transaction. `insert`: the dialect's, which knows ON CONFLICT."""
    for request in changes.requests.values():
        statement = insert(_REQUEST).values(_request_row(request))
        again = {"state": statement.excluded.state, "detail": statement.excluded.detail}
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=again))
    for id_, reason in changes.stopped.items():
        connection.execute(_REQUEST.update().where(_REQUEST.c.id == id_).values(state="stopped", detail=reason))
    if changes.new:
        connection.execute(_COMMAND.insert(), [_command_row(*entry) for entry in changes.new.values()])
    if changes.changed:
        statement = _COMMAND.update().where(_COMMAND.c.id == bindparam("changed_id"))
        statement = statement.values({name: bindparam(f"new_{name}") for name in _CHANGING})
        connection.execute(statement, [_changed_row(command) for command in changes.changed.values()])
    if changes.history:
        connection.execute(_HISTORY.insert(), [_history_row(change) for change in changes.history])
    for machine_id, desired in changes.desired.items():
        values = {"desired_version": desired.version, "desired": desired.model_dump(mode="json")}
        connection.execute(_MACHINE.update().where(_MACHINE.c.id == machine_id).values(values))


def _commands() -> Select[Any]:
    asked = (_REQUEST.c.principal, _REQUEST.c.batch, _REQUEST.c.rollout)
    query = select(_COMMAND, tables.org.c.name.label("org"), _MACHINE.c.name.label("machine"), *asked)
    return (
        query.join(_REQUEST, _COMMAND.c.request_id == _REQUEST.c.id)
        .join(_MACHINE, _COMMAND.c.machine_id == _MACHINE.c.id)
        .join(tables.org, _MACHINE.c.org_id == tables.org.c.id)
    )


def _requests() -> Select[Any]:
    return select(_REQUEST, tables.org.c.name.label("org")).join(tables.org)


def _command(row: Row[Any]) -> Command:
    fields = (
        "id",
        "machine_id",
        "org",
        "machine",
        "principal",
        "batch",
        "action",
        "expires_at",
        "created_at",
        *_CHANGING,
    )
    return Command(
        **{name: getattr(row, name) for name in fields if name != "state"},
        state=CommandState(row.state),
        request=row.request_id,
        gated=row.rollout is not None,
        order=Signed.model_construct(statement=row.statement, key=row.key, signature=row.signature),
    )


def _request(row: Row[Any]) -> RequestRecord:
    rollout = None if row.rollout is None else Rollout.model_validate(row.rollout)
    fields = ("id", "org", "principal", "actor", "kind", "batch", "state", "detail", "created_at")
    return RequestRecord(**{name: getattr(row, name) for name in fields}, rollout=rollout)


def _desired(value: object) -> Desired | None:
    try:
        return Desired.model_validate(value)
    except ValidationError:  # written by another version: the next `configure` replaces it
        return None


def _request_row(request: RequestRecord) -> dict[str, Any]:
    fields = ("id", "principal", "kind", "batch", "state", "created_at")
    return {
        **{name: getattr(request, name) for name in fields},
        "org_id": select(tables.org.c.id).where(tables.org.c.name == request.org).scalar_subquery(),
        "actor": storable(request.actor),
        "rollout": None if request.rollout is None else request.rollout.model_dump(mode="json"),
        "detail": storable(request.detail),
    }


def _command_row(command: Command, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: getattr(command, name) for name in _FIXED},
        "request_id": command.request,
        "arguments": arguments,
        **command.order.model_dump(),
        **_changing_values(command),
    }


def _changed_row(command: Command) -> dict[str, Any]:
    return {"changed_id": command.id, **{f"new_{name}": value for name, value in _changing_values(command).items()}}


def _changing_values(command: Command) -> dict[str, Any]:
    return {
        **{name: getattr(command, name) for name in _CHANGING},
        "state": command.state.value,
        "reason": storable(command.reason),
        "detail": storable(command.detail),
        "output": None if command.output is None else storable(command.output),
    }


def _history_row(change: CommandChange) -> dict[str, Any]:
    fields = ("at", "before", "after", "by")
    return {
        **{name: getattr(change, name) for name in fields},
        "command_id": change.command,
        "reason": storable(change.reason),
        "detail": storable(change.detail),
    }
