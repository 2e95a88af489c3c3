"""A report on an organisation, for people who look at no dashboard."""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, Database, Output, fleet_database, to_file, to_moment
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.fleet.availability import Span

app = typer.Typer()

_DAY = 86_400_000


class Period(StrEnum):
    """How long a time a report is about."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


_DAYS = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 30, Period.YEAR: 365}


@app.command()
def report(
    org: Annotated[str, typer.Option(help="The organisation.")] = "home",
    period: Annotated[Period, typer.Option(help="The last 24 hours, 7 days, 30 days or 365 days.")] = Period.MONTH,
    end: Annotated[str | None, typer.Option("--to", help="Until this moment instead.", show_default="now")] = None,
    language: Annotated[str, typer.Option(help="Its language: en, es, fr or ru.")] = "en",
    output: Output = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Write a report as one HTML file: availability, incidents, health, consumers, disks, completeness."""
    from dashboard.i18n.language import LANGUAGES, known, speaking

    if not known(language):
        raise UserError(f"there is no language {language!r}: name one of {', '.join(LANGUAGES)}")
    now = time.time_ns() // 1_000_000
    until = to_moment(end, now) if end is not None else now
    within = (until - _DAYS[period] * _DAY, until)
    with to_file(output) as file, fleet_database(data, database, read_only=True) as engine, speaking(language):
        page = _written(engine, org, within, now)
        if file is None:
            typer.echo(page)
        else:
            file.write_text(page + "\n", encoding="utf-8")
    if output is not None:
        typer.echo(f"Wrote the report on {org} to {output}.")


def _written(engine: "Engine", org: str, within: "Span", now: int) -> str:
    from rich.console import Console
    from rich.progress import Progress

    from dashboard.report.html import page
    from dashboard.report.summary import gather
    from schemas.database.queries.report import count_hours
    from schemas.database.queries.settings import has_org

    if not has_org(engine, org):
        raise UserError(f"there is no organisation {org}")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Reading hours", total=count_hours(engine, org, within))
        found = gather(engine, org, within, now=now, tell=lambda hours: progress.advance(task, hours))
    return page(found)
