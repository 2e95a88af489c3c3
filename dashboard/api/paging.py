"""Pages of alerts and incidents: numbered rows, the newest first."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Row

from dashboard.api.parameters import DIGITS, Moment, Parameters
from schemas.contract.messages import INTEGER_MAX
from schemas.database.paged.problem_pages import KeyedRange

LIMIT_MAX = 1000
LIMIT = 100
PageState = Literal["active", "resolved", "all"]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX), DIGITS]


class NumberedPage(Parameters):
    """A page, and the time range that its rows overlap."""

    limit: Limit = Field(LIMIT, description="Most rows to return")
    after: Annotated[int, Field(ge=1, le=INTEGER_MAX), DIGITS] | None = Field(
        None, description="The `next` of the page before"
    )
    start: Moment | None = Field(None, alias="from", description="Only rows that ended after this time, or are active")
    end: Moment | None = Field(None, alias="to", description="Only rows that began before this time")

    def keyed(self, state: PageState) -> KeyedRange:
        """Return the range to query: one row more than the page, which tells whether there is a next one."""
        active = {"active": True, "resolved": False}.get(state)
        return KeyedRange(self.limit + 1, below=self.after, active=active, start=self.start, end=self.end)

    def next_of(self, rows: Sequence[Row[Any]]) -> int | None:
        """Return the value of `after` for the next page, given the rows of the range; None if this is the last."""
        return int(rows[self.limit - 1].id) if len(rows) > self.limit else None
