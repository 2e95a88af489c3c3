"""`dashfleet replay`: publish stored history again, below topics of its own."""

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from cli.contract.temporary_principal import connected_as, unique_name
from cli.options import CLOCK, Data, Database, Org, Server, to_moment
from cli.output import note, progress_bar, utc
from cli.settings import effective, fleet_database, require_org
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from schemas.database.replay.stored_messages import StoredPeriod

app = typer.Typer()

NAME = "replay"

Machines = Annotated[
    list[str] | None, typer.Option("--machine", help="Only this machine; may be repeated.", show_default="all")
]
Speed = Annotated[
    float, typer.Option(help="Multiple of the original speed: 60 replays an hour in a minute.", min=0.01, max=1_000_000)
]
ReplayId = Annotated[
    str | None, typer.Option("--id", help="Name of the replay, in its topics.", show_default="16 random digits")
]


@app.command()
def replay(
    start: Annotated[str, typer.Option("--from", help="2026-11-25, 2026-11-25T08:30 (UTC), or 24h (ago).")],
    end: Annotated[str | None, typer.Option("--to", help="End of the range, exclusive.", show_default="now")] = None,
    speed: Speed = 1.0,
    org: Org = "home",
    machine: Machines = None,
    replay_id: ReplayId = None,
    data: Data = None,
    database: Database = None,
    server: Server = None,
) -> None:
    """Publish stored samples, presence and alerts again, in order, below dashfleet/replay/ID/.

    Readers of the organisation may subscribe to these topics; no part of DashFleet does, so nothing is done about them.
    """
    from broker.access.policy import Principal, Role
    from broker.client.replay_publisher import ReplayPace, publish_past
    from runtime.settings.client import WatchSettings
    from schemas.contract.topics import REPLAY_ROOT
    from schemas.database.replay.stored_messages import StoredPeriod, begin_with_data, read_messages

    now = CLOCK.now()
    period = StoredPeriod(org, tuple(machine or ()), to_moment(start, now), now if end is None else to_moment(end, now))
    id_ = _checked_id(replay_id or secrets.token_hex(8))
    if period.start >= period.end:
        raise UserError("--from must be before --to")
    settings = effective(WatchSettings, data, server=server, org=org)
    principal = Principal(Role.REPLAY, org, unique_name(NAME))
    with fleet_database(data, database) as engine:
        require_org(engine, org)
        _require_machines(engine, period)
        period = begin_with_data(engine, period)
        with (
            connected_as(engine, settings, principal) as transport,
            progress_bar("Replaying", period.end - period.start) as advance,
        ):
            note(f"Replaying {utc(period.start)} to {utc(period.end)} below {REPLAY_ROOT}/{id_}/{org}/")
            pace = ReplayPace(id_, org, period.start, speed)
            count = publish_past(transport, read_messages(engine, period), pace, clock=CLOCK, progress=advance)
    typer.echo(f"Replayed {count:,} messages.")


def _checked_id(text: str) -> str:
    from schemas.contract.topics import is_id

    if not is_id(text):
        raise UserError(f"{text!r} cannot name a replay: use lower-case letters, digits and inner hyphens")
    return text


def _require_machines(engine: "Engine", period: "StoredPeriod") -> None:
    """Raise UserError for machines that do not exist; note which samples are deleted."""
    from schemas.database.replay.stored_messages import chosen_machines
    from schemas.database.replay.stored_samples import samples_kept_since

    found = chosen_machines(engine, period)
    missing = sorted(set(period.machines) - set(found.values()))
    if missing:
        raise UserError(f"{period.org} has no machine {', '.join(missing)}: dashfleet machines lists them")
    kept = samples_kept_since(engine, list(found))
    if kept > period.start:
        note(f"Samples from before {utc(kept)} are deleted and cannot be replayed; averages of them are kept.")
