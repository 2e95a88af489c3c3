"""`dashfleet agent install` and `dashfleet agent uninstall`."""

from pathlib import Path
from typing import Annotated

import typer

from cli.agent.token import CaFile, MachineId, TokenFile, read_token
from cli.options import Server
from runtime.errors import UserError
from runtime.extras import require_extra

app = typer.Typer()

Prefix = Annotated[
    Path | None,
    typer.Option(help="Directory of the installation.", show_default="/opt/dashfleet", metavar="DIR"),
]
InstalledData = Annotated[
    Path | None,
    typer.Option("--data", help="State directory of the service.", show_default="/var/lib/dashfleet", metavar="DIR"),
]


@app.command("install")
def install(
    server: Server = None,
    machine: MachineId = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    ca_sha256: Annotated[
        str, typer.Option(help="SHA-256 fingerprint that the CA certificate must have.", metavar="HEX")
    ] = "",
    place: Annotated[
        str,
        typer.Option("--from", help="Address of the dashboard, or directory of a bundle, with the CA certificate."),
    ] = "",
    data: InstalledData = None,
    prefix: Prefix = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow downloads and the token without TLS, on a private network.")
    ] = False,
    updates: Annotated[bool, typer.Option("--updates/--no-updates", help="Let signed orders update the agent.")] = True,
) -> None:
    """Install the agent as a service of this machine, which starts with the system.

    Creates the user dashfleet, enrols the machine, and starts the service. Run again, it repairs what is missing and
    changes nothing else. install.sh, which the dashboard serves, prepares an environment and calls this.
    """
    require_extra("agent")
    from agent.installation.bootstrap import NOT_CONNECTED, undo_when_ended
    from agent.installation.installer import Installer, InstallOptions
    from agent.installation.record import DATA, PREFIX
    from agent.installation.source import BundleSource
    from agent.services import find_service

    undo_when_ended()
    if place:
        BundleSource(place, insecure=insecure)
    prefix, data, place = (prefix or PREFIX).absolute(), (data or DATA).absolute(), place.rstrip("/")
    options = InstallOptions(prefix, data, server or "", machine or "", place, ca_file, ca_sha256, insecure, updates)
    installer = Installer(options, find_service(), token=lambda: str(read_token(token_file)), say=typer.echo)
    if not installer.run():
        raise typer.Exit(NOT_CONNECTED)


@app.command("uninstall")
def uninstall(
    prefix: Prefix = None,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep the state directory: secret, keys, samples that wait.")
    ] = False,
    retire: Annotated[
        bool, typer.Option("--retire", help="Retire this machine at its server: its secret is revoked there.")
    ] = False,
) -> None:
    """Stop the agent and remove its installation, its user and its state from this machine."""
    require_extra("agent")
    if retire and keep_data:
        raise UserError("--keep-data keeps a secret that --retire revokes: use one of the two")
    from agent.installation import uninstaller
    from agent.installation.record import PREFIX

    uninstaller.uninstall(
        (prefix or PREFIX).absolute(), keep_data=keep_data, say=typer.echo, retire=_retire if retire else None
    )


def _retire(data: Path) -> bool:
    """Ask the server to retire the machine with this state directory. Raises UserError."""
    from agent.installation.retirement import Retirement, open_transport
    from agent.relocation.move_record import followed
    from cli.settings import effective
    from runtime.clock import SystemClock
    from runtime.settings.agent import AgentSettings

    settings = followed(effective(AgentSettings, data, None))
    return Retirement(settings, open_transport(settings), SystemClock()).run()


def installed_data(given: Path | None) -> Path:
    """Return the state directory: the one given, that of the installation, or the user's."""
    from agent.installation.record import PREFIX, read_record
    from cli.settings import data_directory

    record = read_record(PREFIX)
    if given is None and record is not None:
        return Path(record.data)
    return data_directory(given)


def require_readable(data: Path) -> None:
    """Raise UserError if this user may not see into the state directory."""
    try:
        list(data.iterdir())
    except FileNotFoundError:
        raise UserError(f"there is no state directory {data}: the agent is not installed here; see --data") from None
    except OSError as error:
        raise UserError(f"cannot read {data} ({error.strerror}): run this as root") from None
