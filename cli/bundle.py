"""`dashfleet bundle`: the files that machines install from."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Data
from cli.output import note
from cli.settings import data_directory, effective
from runtime.errors import UserError

app = typer.Typer()

_PLATFORMS = (
    "linux-x86_64, linux-aarch64, linux-armv7l, musl-x86_64, musl-aarch64, musl-armv7l, macos-x86_64, macos-arm64, "
    "windows-x86_64"
)


@app.command()
def bundle(
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the bundle.", show_default="the one that the dashboard serves", metavar="DIR"),
    ] = None,
    platforms: Annotated[
        list[str] | None,
        typer.Option("--platform", help=f"Add the dependencies for a platform; may be repeated: {_PLATFORMS}."),
    ] = None,
    pythons: Annotated[
        list[str] | None,
        typer.Option(
            "--python", help="Python version of the machines; may be repeated.", show_default="3.11, 3.12, 3.13"
        ),
    ] = None,
    uv: Annotated[
        bool, typer.Option("--uv", help="Add uv for these platforms, which installs Python where it is missing.")
    ] = False,
    data: Data = None,
) -> None:
    """Build what machines install: the agent, and for selected platforms its dependencies.

    The dashboard serves it at /install.sh and /bundle. Without --platform, machines get the dependencies from their
    package index. A machine that reaches neither installs from a copy: sh DIR/install.sh --from DIR.
    """
    from runtime.bundle import builder, wheelhouse

    wanted = list(dict.fromkeys(platforms or ()))
    if unknown := [name for name in wanted if name not in wheelhouse.PLATFORMS]:
        raise UserError(f"there is no platform {unknown[0]}: there are {_PLATFORMS}")
    if uv and not wanted:
        raise UserError("--uv needs --platform: it is a program for these platforms")
    directory, authority = _place(output, data)
    made = builder.build(
        directory, platforms=wanted, pythons=pythons or wheelhouse.PYTHONS, with_uv=uv, authority=authority
    )
    for file in made.files:
        typer.echo(f"{file.sha256}  {file.name}")
    note(f"The bundle of version {made.version} is in {directory}.")


def _place(output: Path | None, data: Path | None) -> tuple[Path, Path | None]:
    """Return the directory of the bundle, and the CA certificate that a copy of it needs."""
    from runtime.settings.dashboard import DashboardSettings
    from runtime.state_directory import StateDirectory

    state = StateDirectory(data_directory(data))
    if output is not None:
        return output, state.authority
    return effective(DashboardSettings, data).bundle or state.bundle, None
