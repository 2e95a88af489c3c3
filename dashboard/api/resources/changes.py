"""GET /changes: changes of settings and credentials, and for admins of users and API tokens, the newest first."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import Row

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.paging import LIMIT, Limit
from dashboard.api.parameters import Moment, Parameters, SearchText
from dashboard.auth.users import UserRole
from schemas.database.events.event_queries import NO_END, EventRange, list_change_events

ChangePosition = Annotated[str, Field(pattern=r"^[0-9]{1,15}\.(settings\.[0-9a-f]{32}|users\.[0-9]{1,15})$")]
Source = Literal["settings", "users"]
_SOURCES: Final[tuple[Source, ...]] = ("settings", "users")
"""The order of changes in the same millisecond."""


class ChangeListParameters(Parameters):
    """Which changes, and which page."""

    limit: Limit = Field(LIMIT, description="Most changes to return")
    after: ChangePosition | None = Field(None, description="The `next` of the page before")
    start: Moment | None = Field(None, alias="from", description="Only changes at this time or later")
    end: Moment | None = Field(None, alias="to", description="Only changes before this time")
    search: SearchText = Field("", description="Words that must occur in the change or its author")


class ApiChange(ApiModel):
    """A change. `source`: `users` for users and API tokens, which only a token with the role admin sees.

    `by` is the person, `principal` the credential that requested it (empty for users). `name` is the user or token
    that was changed (empty for settings). `state` is `refused` if nothing was changed.
    """

    at: int
    source: Source
    kind: str
    state: str
    by: str
    principal: str
    name: str
    detail: str


class ApiChanges(ApiModel):
    """A page of changes. `next`: the value of `after` for the next page; null on the last one."""

    changes: tuple[ApiChange, ...]
    next: ChangePosition | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A change and its place in the list."""

    change: ApiChange
    key: int | str

    @property
    def order(self) -> tuple[int, int]:
        return -self.change.at, _SOURCES.index(self.change.source)


def read(request: ApiRequest, wanted: ChangeListParameters) -> ApiChanges:
    """Return a page of changes."""
    start, end = wanted.start or 0, NO_END if wanted.end is None else wanted.end
    within = EventRange(start, end, search=wanted.search, limit=wanted.limit + 1)
    rows = list_change_events(request.engine, request.org, _rest(within, "settings", wanted.after))
    found = [_Found(_of_settings(row), row.id) for row in rows]
    if request.role is UserRole.ADMIN:
        changes = request.users.changes(request.org, _rest(within, "users", wanted.after))
        found += [_Found(_of_users(row), row.id) for row in changes]
    found.sort(key=lambda each: each.order)  # stable: each source is sorted by its key
    shown = found[: wanted.limit]
    last = shown[-1] if len(found) > len(shown) else None
    following = None if last is None else f"{last.change.at}.{last.change.source}.{last.key}"
    return ApiChanges(changes=tuple(each.change for each in shown), next=following)


def _rest(within: EventRange, source: Source, after: str | None) -> EventRange:
    """Return the part of a source's range that follows a position in the list of both."""
    if after is None:
        return within
    moment, name, key = after.split(".")
    at = int(moment)
    if at >= within.end:
        return within
    if name == source:
        return replace(within, end=at, below_key=int(key) if name == "users" else key)
    before = _SOURCES.index(source) < _SOURCES.index(name)
    return replace(within, end=at if before else at + 1)


def _of_settings(row: Row[Any]) -> ApiChange:
    return ApiChange(
        at=row.created_at,
        source="settings",
        kind=row.kind,
        state=row.state,
        by=row.actor,
        principal=row.principal,
        name="",
        detail=row.detail,
    )


def _of_users(row: Row[Any]) -> ApiChange:
    return ApiChange(
        at=row.at,
        source="users",
        kind=row.kind,
        state="accepted",
        by=row.by,
        principal="",
        name=row.name,
        detail=row.detail,
    )


OPERATION = Operation(
    id="listChanges",
    path="/changes",
    summary="List changes of settings, credentials, users and API tokens, the newest first",
    parameters=ChangeListParameters,
    answer=ApiChanges,
    read=read,
)
