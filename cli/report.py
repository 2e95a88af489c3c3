"""`dashfleet report`: an organisation's report as an HTML file."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import CLOCK, Data, Database, Org, Output, to_moment
from cli.output import output_file, progress_bar
from cli.settings import fleet_database, require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.fleet.availability import Span

app = typer.Typer()

_DAY = 86_400_000
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


@app.command()
def report(
    org: Org = "home",
    period: Annotated[
        Literal["day", "week", "month", "year"], typer.Option(help="The last 24 hours, 7 days, 30 days or 365 days.")
    ] = "month",
    end: Annotated[str | None, typer.Option("--to", help="End of the period.", show_default="now")] = None,
    language: Annotated[str, typer.Option(help="Language of the report: en, es, fr or ru.")] = "en",
    output: Output = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Write a report as one HTML file: availability, incidents, health, top consumers, disks, completeness."""
    from dashboard.i18n.language import LANGUAGES, known, speaking

    if not known(language):
        raise UserError(f"unknown language {language!r}: choose one of {', '.join(LANGUAGES)}")
    now = CLOCK.now()
    until = to_moment(end, now) if end is not None else now
    within = (until - _DAYS[period] * _DAY, until)
    with output_file(output) as file, fleet_database(data, database, read_only=True) as engine, speaking(language):
        page = _render(engine, org, within, now)
        if file is None:
            typer.echo(page)
        else:
            file.write_text(page + "\n", encoding="utf-8")
    if output is not None:
        typer.echo(f"Wrote the report on {org} to {output}.")


def _render(engine: "Engine", org: str, within: "Span", now: int) -> str:
    from dashboard.report.html import page
    from dashboard.report.summary import gather
    from schemas.database.queries.report import count_hours

    require_org(engine, org)
    with progress_bar("Reading hours", count_hours(engine, org, within)) as advance:
        found = gather(engine, org, within, now=now, tell=advance)
    return page(found)
