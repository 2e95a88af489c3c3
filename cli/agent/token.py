"""The enrolment token, and options shared by the commands that enrol a machine."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.errors import UserError

if TYPE_CHECKING:
    from schemas.contract.enrolment import Token

TOKEN = "DASHFLEET_TOKEN"  # noqa: S105 - a variable's name
STANDARD_INPUT = Path("-")

MachineId = Annotated[
    str | None, typer.Option("--machine", help="Id of this machine.", show_default="derived from the hostname")
]
TokenFile = Annotated[Path | None, typer.Option(help="File with mode 0600 that holds the token; - for standard input.")]
CaFile = Annotated[Path | None, typer.Option(help="CA certificate to trust for mqtts, PEM.")]


def read_token(path: Path | None) -> "Token":
    """Read the token from a source that does not show it. Raises UserError."""
    from runtime.settings.secret_files import read_secret
    from schemas.contract.enrolment import Token

    if path is not None and path != STANDARD_INPUT:
        text = read_secret(path)
    elif path is None and TOKEN in os.environ:
        text = os.environ[TOKEN]
    elif path is None and sys.stdin.isatty():
        text = str(typer.prompt("Token", hide_input=True))
    else:
        text = sys.stdin.readline()
    try:
        return Token.parse(text)
    except ValueError as error:
        raise UserError(str(error)) from None
