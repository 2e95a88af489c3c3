"""`dashfleet notify route, routes, set, report`: which alerts a destination receives, and how."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.notify.people import DestinationName, cells, open_people
from cli.options import Data, Json, Org, to_days, to_seconds
from cli.output import show_json, show_rows
from runtime.errors import UserError

if TYPE_CHECKING:
    from schemas.people.routing import Preferences, Route

app = typer.Typer()


@app.command("route")
def route(
    name: DestinationName,
    org: Org = "home",
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only machines with this label, KEY=VALUE; may be repeated.")
    ] = None,
    machine: Annotated[list[str] | None, typer.Option("--machine", help="Only this machine; may be repeated.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", help="Only this rule or kind of incident; may be repeated.")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="Only this severity: warning or critical.")] = None,
    after: Annotated[
        str | None, typer.Option(help="Only alerts that are not acknowledged after this time, such as 15m.")
    ] = None,
    data: Data = None,
) -> None:
    """Add a route: from now on the destination receives only the alerts that a route matches."""
    from schemas.people.destinations import add_route, find_destination

    new = _route(
        labels=dict(_pair(each) for each in label or ()),
        machines=tuple(machine or ()),
        rules=tuple(rule or ()),
        severities=frozenset([severity] if severity else ()),
        after_seconds=round(to_seconds(after)) if after else 0,
    )
    with open_people(data) as people:
        add_route(people.engine, find_destination(people.engine, org, name), new)


@app.command("routes")
def routes(
    name: DestinationName,
    org: Org = "home",
    clear: Annotated[bool, typer.Option("--clear", help="Remove all routes: every alert is sent again.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List the routes of a destination, or remove them."""
    from schemas.people.destinations import find_destination, set_routes

    with open_people(data) as people:
        found = find_destination(people.engine, org, name)
        if clear:
            set_routes(people.engine, found, ())
            return
    shown = [each.model_dump(mode="json") for each in found.routes]
    show_rows(shown, ("labels", "machines", "rules", "severities", "after_seconds"), as_json=as_json, cells=cells)


@app.command("set")
def set_(
    name: DestinationName,
    org: Org = "home",
    language: Annotated[str | None, typer.Option(help="Language of the messages: en, es, fr or ru.")] = None,
    zone: Annotated[str | None, typer.Option(help="Time zone, such as Europe/Paris.")] = None,
    quiet: Annotated[
        list[str] | None,
        typer.Option(
            help="Quiet hours: 22:00-07:00 or 'mon-fri 22:00-07:00', but for critical alerts; repeatable; off for none."
        ),
    ] = None,
    severity: Annotated[str | None, typer.Option(help="Lowest severity: warning or critical.")] = None,
    repeat: Annotated[
        str | None, typer.Option(help="Interval of reminders until the alert is acknowledged, such as 4h; 0 for none.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Time for which alerts are collected into one message, such as 30s.")
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(help="Label that alerts in one message have in common; may be repeated; off for none."),
    ] = None,
    recovery: Annotated[
        bool | None, typer.Option("--recovery/--no-recovery", help="Also tell the end of an alert.", show_default=False)
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Change how a destination is told; without options, print it."""
    from schemas.people.destinations import find_destination, set_preferences

    others = {"language": language, "zone": zone, "severity": severity, "recovery": recovery}
    given = _changes(quiet=quiet, repeat=repeat, group=group, group_by=group_by, **others)
    with open_people(data) as people:
        found = find_destination(people.engine, org, name)
        preferences = _preferences({**found.preferences.model_dump(mode="json"), **given})
        if given:
            set_preferences(people.engine, found, preferences)
    if as_json or not given:
        _show(preferences, as_json=as_json)


@app.command("report")
def report(
    name: DestinationName,
    period: Annotated[str, typer.Argument(help="week: on Mondays; month: on the first of the month.")],
    org: Org = "home",
    hour: Annotated[int, typer.Option(help="Hour in the time zone of the destination.", min=0, max=23)] = 8,
    off: Annotated[bool, typer.Option("--off", help="Stop sending this report.")] = False,
    data: Data = None,
) -> None:
    """Send the organisation's report to a mail destination every week or month."""
    from schemas.people.destinations import find_destination
    from schemas.people.report_schedules import set_report

    with open_people(data) as people:
        set_report(people.engine, find_destination(people.engine, org, name), period, None if off else hour)


def _show(preferences: "Preferences", *, as_json: bool) -> None:
    shown = preferences.model_dump(mode="json")
    if as_json:
        show_json(shown)
    else:
        show_rows([{"setting": key, "value": value} for key, value in shown.items()], ("setting", "value"))


def _changes(
    *,
    quiet: list[str] | None,
    repeat: str | None,
    group: str | None,
    group_by: list[str] | None,
    **others: str | bool | None,
) -> dict[str, Any]:
    """Return the preferences that options change."""
    changes: dict[str, Any] = dict(others)
    changes["repeat_seconds"] = None if repeat is None else 0 if repeat == "0" else round(to_seconds(repeat))
    changes["group_seconds"] = None if group is None else to_seconds(group)
    changes["group_by"] = None if group_by is None else [each for each in group_by if each != "off"]
    changes["quiet"] = None if quiet is None else [_window(each) for each in quiet if each != "off"]
    return {key: value for key, value in changes.items() if value is not None}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{text!r} is not a label: write KEY=VALUE")
    return key, value


def _window(text: str) -> dict[str, Any]:
    days, space, hours = text.strip().rpartition(" ")
    start, dash, end = hours.partition("-")
    chosen = to_days(days) if space else list(range(7))
    if not dash or chosen is None:
        raise UserError(f"{text!r} is not a time span: write 22:00-07:00, or 'mon-fri 22:00-07:00'")
    return {"days": chosen, "start": start, "end": end}


def _route(**values: Any) -> "Route":  # noqa: ANN401 - fields of different types
    from pydantic import ValidationError

    from runtime.sentences.validation_errors import first_sentence
    from schemas.people.routing import Route

    try:
        return Route(**values)
    except ValidationError as error:
        raise UserError(first_sentence(error)) from None


def _preferences(values: dict[str, Any]) -> "Preferences":
    from pydantic import ValidationError

    from runtime.sentences.validation_errors import first_sentence
    from schemas.people.routing import Preferences

    try:
        return Preferences.model_validate(values)
    except ValidationError as error:
        raise UserError(first_sentence(error)) from None
