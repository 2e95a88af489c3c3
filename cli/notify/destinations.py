"""`dashfleet notify add, list, test, remove, secret, log`: destinations and deliveries."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.notify.people import DestinationName, cells, open_people
from cli.options import CLOCK, Data, Json, OnlyOrg, Org, user_name
from cli.output import note, show_rows, utc
from cli.settings import fleet_database, require_org
from runtime.errors import UserError
from runtime.terminal import printable

if TYPE_CHECKING:
    from schemas.people.destinations import Destination

app = typer.Typer()


@app.command("add")
def add(
    name: DestinationName,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Address of the service, such as mailtos://… or https://example.org/hook. "
            "- reads it from standard input, so that its secrets are not visible in the list of processes.",
        ),
    ],
    org: Org = "home",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow private and loopback addresses to this destination.")
    ] = False,
    data: Data = None,
) -> None:
    """Add a destination. It receives every alert of its organisation until it has routes."""
    from schemas.people.addresses import refusal_of_url
    from schemas.people.destinations import add_destination

    given = sys.stdin.readline().strip() if url == "-" else url
    with fleet_database(data, read_only=True) as engine:
        require_org(engine, org)
    _check_service(given)
    with open_people(data) as people:
        permit = "add --allow-private to permit it"
        if reason := refusal_of_url(given, allow_private=allow_private or people.allow_private, permit=permit):
            raise UserError(reason)
        found = add_destination(
            people.engine, people.box, org, name, given, by=user_name(), now=CLOCK.now(), allow_private=allow_private
        )
    typer.echo(f"Added {printable(found.name)} ({printable(found.shown)}). Test it with: dashfleet notify test {name}")
    if url != "-":
        note("The URL was visible in the list of processes: pass it on standard input instead, with - as URL.")


@app.command("list")
def list_(data: Data = None, org: OnlyOrg = None, as_json: Json = False) -> None:
    """List destinations. URLs are shown without their secrets."""
    from schemas.people.destinations import list_destinations

    _require_listed(data, org)
    with open_people(data) as people:
        found = [_shown(each) for each in list_destinations(people.engine, org)]
    columns = ("name", "org", "owner", "service", "url", "routes", "language", "private")
    show_rows(found, columns, as_json=as_json, cells=_listed_cells)


@app.command("test")
def send_test(name: DestinationName, org: Org = "home", data: Data = None) -> None:
    """Send a test message and print the service's answer; exit with 1 if it is not accepted."""
    from notifier.dispatch import Dispatch
    from notifier.rendering.message import trial_message
    from notifier.sending.outgoing import SendingError
    from schemas.people.deliveries import record_test
    from schemas.people.destinations import find_destination

    with open_people(data) as people:
        to, now = find_destination(people.engine, org, name), CLOCK.now()
        dispatch = Dispatch(people.engine, people.box, CLOCK, data=people.data, allow_private=people.allow_private)
        message = trial_message(to.preferences, org=org, name=to.name, delivery=f"{org}-test-{now}", now=now)
        answer, error = "", ""
        try:
            answer = dispatch.send(message, to)
        except SendingError as failed:
            answer, error = failed.answer, str(failed)
        record_test(people.engine, to, error=error, answer=answer, title=message.title, now=now)
    if error:
        note(f"not accepted: {printable(error)}")
    if answer:
        typer.echo(printable(answer))
    raise typer.Exit(1 if error else 0)


@app.command("remove")
def remove(name: DestinationName, org: Org = "home", data: Data = None) -> None:
    """Remove a destination. Messages to it that wait are cancelled."""
    from schemas.people.destinations import find_destination, remove_destination

    with open_people(data) as people:
        remove_destination(people.engine, find_destination(people.engine, org, name))


@app.command("secret")
def secret(name: DestinationName, org: Org = "home", data: Data = None) -> None:
    """Print the secret with which messages to a webhook are signed."""
    from schemas.people.destinations import find_destination, webhook_secret

    with open_people(data) as people:
        typer.echo(webhook_secret(people.box, find_destination(people.engine, org, name)))


@app.command("log")
def log(
    data: Data = None,
    org: OnlyOrg = None,
    limit: Annotated[int, typer.Option(help="Maximum number of deliveries, newest first.", min=1, max=5000)] = 100,
    as_json: Json = False,
) -> None:
    """List deliveries: time, destination, state, attempts, answer or error."""
    from schemas.people.deliveries import list_deliveries

    shown = ("id", "org", "destination", "kind", "state", "attempts", "items", "title", "answer", "error")
    _require_listed(data, org)
    with open_people(data) as people:
        found = [
            {"at": utc(each.created_at), **{name: getattr(each, name) for name in shown}}
            for each in list_deliveries(people.engine, org, limit=limit)
        ]
    columns = ("at", "destination", "kind", "state", "attempts", "title", "error")
    show_rows(found, columns, as_json=as_json, cells=cells)


def _check_service(url: str) -> None:
    """Raise UserError if a service would not accept the form of the URL."""
    from notifier.sending.outgoing import SendingError
    from schemas.people.services import WEBHOOK_SCHEMES, check_url

    if check_url(url) in WEBHOOK_SCHEMES:
        return
    from notifier.sending.apprise_channel import open_service

    try:
        open_service(url)
    except SendingError as error:
        raise UserError(str(error)) from None


def _listed_cells(row: dict[str, Any]) -> dict[str, str]:
    return {**cells(row), **({} if row["routes"] else {"routes": "every alert"})}


def _require_listed(data: Path | None, org: str | None) -> None:
    """Raise UserError if a list is narrowed to an organisation that does not exist."""
    if org is not None:
        with fleet_database(data, None) as engine:
            require_org(engine, org)


def _shown(found: "Destination") -> dict[str, Any]:
    return {
        "name": found.name,
        "org": found.org,
        "owner": found.owner,
        "service": found.service,
        "url": found.shown,
        "private": found.allow_private,
        "routes": [each.model_dump(mode="json") for each in found.routes],
        "language": found.preferences.language,
        "preferences": found.preferences.model_dump(mode="json"),
        "created": found.created_at,
    }
