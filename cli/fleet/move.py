"""`dashfleet move`: prepare the move of machines to another server, which the action `move` then carries out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CLOCK, Data, Database, Org
from cli.output import note
from cli.settings import effective, fleet_database
from runtime.errors import UserError

if TYPE_CHECKING:
    from schemas.relocation.destination import MoveDestination

app = typer.Typer(
    help="Move machines to another server: export them here, import them there, then run the action move here.",
    no_args_is_help=True,
)

_FILE_MAX = 64 << 20


@app.command("export")
def export(
    machines: Annotated[
        list[str] | None, typer.Argument(metavar="[MACHINE]…", help="Machines to move.", show_default=False)
    ] = None,
    all_machines: Annotated[bool, typer.Option("--all", help="Export every machine of the organisation.")] = False,
    data: Data = None,
    database: Database = None,
    org: Org = "home",
) -> None:
    """Print what another server needs to accept machines of this one: their ids and the records of their secrets.

    It contains no secret.
    """
    from ingestor.admin.relocation import export_machines

    if bool(machines) == all_machines:
        raise UserError("name the machines to export, or use --all")
    with fleet_database(data, database, read_only=True) as engine:
        moving = export_machines(engine, org, machines or None)
    typer.echo(moving.model_dump_json(indent=2))
    note(f"On the new server: dashfleet move import FILE > destination.json ({len(moving.machines)} machines).")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File that `dashfleet move export` wrote on the old server.")],
    data: Data = None,
    database: Database = None,
    org: Org = "home",
    server: Annotated[
        str | None,
        typer.Option(
            help="URL at which the machines reach this server's broker.",
            show_default="the one that the dashboard shows to new machines",
            metavar="URL",
        ),
    ] = None,
) -> None:
    """Accept machines of another server, and print the destination for the action `move`.

    It consists of the broker's URL, its CA certificate and the signing keys. It contains no secret.
    """
    from ingestor.admin.relocation import accept_machines, trusted_keys
    from schemas.relocation.machines import MovingMachines

    try:
        moving = MovingMachines.read(_read(file))
    except ValueError as error:
        raise UserError(f"cannot use {file}: {error}") from None
    with fleet_database(data, database) as engine:
        destination = _destination(data, server, org, trusted_keys(engine, org, CLOCK.now()))
        new = accept_machines(engine, org, moving, now=CLOCK.now)
    typer.echo(json.dumps(destination.model_dump(mode="json"), indent=2))
    note(f"{len(new)} machines are new here, {len(moving.machines) - len(new)} were accepted before.")
    note("On the old server: dashfleet act move MACHINE… --file destination=destination.json")


def _destination(data: Path | None, server: str | None, org: str, keys: object) -> "MoveDestination":
    from dashboard.page.install_command import BrokerAddress
    from runtime.settings.dashboard import DashboardSettings
    from schemas.relocation.destination import MoveDestination

    broker = BrokerAddress.of(effective(DashboardSettings, data))
    url = server or (broker.server if broker.is_known else "")
    if not url:
        raise UserError(
            "the address at which machines reach this broker is not known: name it with --server mqtts://HOST:PORT"
        )
    trusted = broker.ca_file if url.startswith("mqtts") else None
    try:
        ca = None if trusted is None else trusted.read_text()
        return MoveDestination.model_validate({"server": url, "org": org, "ca": ca, "keys": keys})
    except OSError as error:
        raise UserError(f"cannot read the CA certificate {trusted}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{url} is no address of a broker: it must look like mqtts://HOST:PORT") from None


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_FILE_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is not text'}") from None
