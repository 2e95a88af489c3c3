"""`dashfleet silence`: periods during which nobody is notified of alerts."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.options import CLOCK, DAYS, Data, Database, Json, OnlyOrg, Org, to_days, to_seconds, user_name
from cli.output import note, show_rows, utc
from cli.settings import fleet_database, require_known
from runtime.errors import UserError
from runtime.terminal import printable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.contract.alerts import Acknowledge, AddSilence, EndSilence, Unacknowledge
    from schemas.database.queries.alerts import OrgSilence

app = typer.Typer(help="Silence alerts: add, list and end silences.", no_args_is_help=True)

KNOWN_ALERTS: Final = "dashfleet alerts lists those that are open, with their ids"
_WEEKLY: Final = re.compile(r"([a-z,-]+) +(\d\d:\d\d)-(\d\d:\d\d)")
OPTIONS: Final = {
    "lifetime_seconds": "--for",
    "weekly": "--weekly",
    "weekly.zone": "--zone",
    "starts_at": "--start",
    "rule": "--rule",
    "reason": "--reason",
    "comment": "--comment",
    "selector.labels": "--label",
    "selector.machines": "--machine",
}
"""Options that give the fields of a request."""

Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Machines with this label; may be repeated.")
]
Machines = Annotated[list[str] | None, typer.Option("--machine", metavar="NAME", help="This machine; may be repeated.")]


@app.command("add")
def add(
    reason: Annotated[str, typer.Option(help="Reason, shown with the alerts.")],
    label: Labels = None,
    machine: Machines = None,
    rule: Annotated[str | None, typer.Option(help="Only alerts of this rule.", show_default="all")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All alerts of the organisation.")] = False,
    lifetime: Annotated[str | None, typer.Option("--for", help="Duration, such as 90m, 2h or 7d.")] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Local time in --zone: 2026-12-01T22:00.", show_default="now")
    ] = None,
    weekly: Annotated[
        str | None, typer.Option(help="Every week instead of once: 'mon,tue 22:00-02:00', 'sat-sun 00:00-00:00'.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of --start and --weekly, such as Europe/Paris.")] = "UTC",
    org: Org = "home",
    data: Data = None,
    database: Database = None,
) -> None:
    """Silence the alerts of machines, of a rule, or both: nobody is notified, and everything is recorded as usual.

    Alerts that begin meanwhile and still last are notified when the silence ends.
    It happens once (--for) or every week (--weekly).
    """
    if not (label or machine or rule or everything):
        raise UserError("name what to silence with --label, --machine or --rule, or everything with --all")
    if (lifetime is None) == (weekly is None):
        raise UserError("a silence needs either --for or --weekly")
    selector = {"labels": to_labels(label or []), "machines": machine or []}
    fields: dict[str, Any] = {"reason": reason, "rule": rule, "selector": selector, "starts_at": _moment(start, zone)}
    if lifetime is not None:
        fields["lifetime_seconds"] = round(to_seconds(lifetime))
    if weekly is not None:
        fields["weekly"] = {**_schedule(weekly), "zone": zone}
    from schemas.contract.alerts import AddSilence

    typer.echo(f"Silence {request(data, database, org, AddSilence, fields, when=True)}")
    note_unknown_machines(data, database, org, machine or [])
    if rule is not None:
        _note_unknown_rule(data, database, org, rule)


@app.command("list")
def list_(
    past: Annotated[bool, typer.Option("--past", help="Include silences that are over.")] = False,
    org: OnlyOrg = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List silences, active and planned: state, machines, rule, when, reason, by whom."""
    from schemas.database.queries.alerts import list_silences

    now = CLOCK.now()
    with fleet_database(data, database, read_only=True) as engine:
        require_known(engine, org)
        found = [_row(each, now) for each in list_silences(engine, org)]
    shown = [row for row in found if past or row["state"] != "past"]
    columns = ("id", "org", "state", "machines", "rule", "when", "reason", "by")
    empty = "No silences." if past else "No active or planned silences."
    show_rows(shown, columns, as_json=as_json, cells=_cells, empty=empty)


@app.command("end")
def end(
    number: Annotated[int, typer.Argument(metavar="ID", help="Id, as shown by `dashfleet silence list`.", min=0)],
    org: Org = "home",
    data: Data = None,
    database: Database = None,
) -> None:
    """End a silence, or cancel one that is planned."""
    from schemas.contract.alerts import EndSilence

    typer.echo(f"Ended {request(data, database, org, EndSilence, {'id': number})}")


def request(
    data: Data,
    database: Database,
    org: str,
    kind: "type[Acknowledge | Unacknowledge | AddSilence | EndSilence]",
    fields: dict[str, Any],
    *,
    when: bool = False,
) -> str:
    """Make a change of alerts or silences in the fleet database, and return its description. Raises UserError.

    `when`: whether the description has the times of a silence that was added.
    """
    from pydantic import ValidationError

    from ingestor.admin import silences
    from runtime.sentences.validation_errors import first_sentence

    try:
        wanted = kind.model_validate(fields)
    except ValidationError as error:
        raise UserError(first_sentence(error, OPTIONS)) from None
    with fleet_database(data, database) as engine:
        try:
            changed = silences.change(engine, org, wanted, user_name(), CLOCK.now())
        except silences.UnknownAlertError as error:
            raise UserError(f"{error}: {KNOWN_ALERTS}") from None
        except silences.UnknownSilenceError as error:
            raise UserError(f"{error}: dashfleet silence list shows those that are not") from None
        return printable(changed) + (f", {_times(engine, org, changed)}" if when else "")


def _times(engine: "Engine", org: str, described: str) -> str:
    """Return when a silence applies, by its description, which begins with its id."""
    from schemas.database.queries.alerts import list_silences

    number = int(described.partition(":")[0])
    return next(_when(_row(each, CLOCK.now())) for each in list_silences(engine, org) if each.silence.id == number)


def note_unknown_machines(data: Data, database: Database, org: str, names: Sequence[str]) -> None:
    """Say which of these machines do not exist; they may enrol later."""
    from schemas.database.queries.machines import find_machine

    with fleet_database(data, database, read_only=True) as engine:
        unknown = [name for name in names if find_machine(engine, org, name) is None]
    if unknown:
        note(f"{org} has no machine {', '.join(unknown)} yet: dashfleet machines lists them")


def _note_unknown_rule(data: Data, database: Database, org: str, name: str) -> None:
    """Say that the organisation has no such rule; it may be one in Python, which the database does not have."""
    from schemas.database.rules.rule_queries import find_rule

    with fleet_database(data, database, read_only=True) as engine:
        known = find_rule(engine, org, name) is not None
    if not known:
        note(f"{org} has no rule {name}, unless it is one in Python: dashfleet rule list shows the others")


def to_labels(texts: list[str]) -> dict[str, str]:
    """Parse labels such as `site=nantes`. Raises UserError."""
    pairs = [text.partition("=") for text in texts]
    if wrong := next((text for text, pair in zip(texts, pairs, strict=True) if not (pair[0] and pair[1])), None):
        raise UserError(f"{wrong!r} is not a label: write KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _moment(text: str | None, zone: str) -> int | None:
    from schemas.contract.alerts import check_zone

    if text is None:
        return None
    from zoneinfo import ZoneInfo

    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--start {text!r} is not a time: write 2026-12-01T22:00") from None
    try:
        aware = local if local.tzinfo else local.replace(tzinfo=ZoneInfo(check_zone(zone)))
        return round(aware.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise UserError(f"--start {text!r} in {zone!r}: {error}") from None


def _schedule(text: str) -> dict[str, Any]:
    """Parse `mon,tue 22:00-02:00`. Raises UserError."""
    found = _WEEKLY.fullmatch(text.strip().lower())
    days = None if found is None else to_days(found[1])
    if found is None or days is None:
        raise UserError(f"--weekly {text!r} is not a schedule: write 'mon,tue 22:00-02:00' or 'mon-fri 01:00-05:00'")
    return {"days": [DAYS[day] for day in days], "start": found[2], "end": found[3]}


def _row(each: "OrgSilence", now: int) -> dict[str, Any]:
    silence = each.silence
    window = silence.window(now)
    names = ("id", "rule", "reason", "starts_at", "ends_at", "created_at", "created_by", "ended_at", "ended_by")
    return {
        **{name: getattr(silence, name) for name in names},
        "org": each.org,
        "state": silence.state(now).value,
        "selector": silence.selector.model_dump(mode="json"),
        "weekly": None if silence.weekly is None else silence.weekly.model_dump(mode="json"),
        "window": None if window is None else list(window),
        "machines": silence.selector.described(),
    }


def _when(row: dict[str, Any]) -> str:
    weekly = row["weekly"]
    if weekly is not None:
        return f"{','.join(weekly['days'])} {weekly['start']}-{weekly['end']} {weekly['zone']}"
    return f"{utc(row['starts_at'])} to {utc(row['ended_at'] or row['ends_at'])}"


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {
        "id": str(row["id"]),
        "org": row["org"],
        "state": row["state"],
        "machines": printable(row["machines"]) or "all",
        "rule": row["rule"] or "all",
        "when": _when(row),
        "reason": printable(row["reason"]),
        "by": printable(row["created_by"]),
    }
