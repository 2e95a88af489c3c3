"""`dashfleet key`: signing keys, which machines of an organisation trust."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import CLOCK, Data, Database, Json, Org, to_seconds
from cli.output import note, show_rows, utc
from cli.settings import data_directory, fleet_database, require_org
from runtime.errors import UserError

app = typer.Typer(help="Create, list and revoke signing keys.", no_args_is_help=True)

_IN_STATE_DIRECTORY = "secrets/signing/ORG in the state directory"
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File to write the private key to, with mode 0600.", show_default=_IN_STATE_DIRECTORY, metavar="FILE"
    ),
]
SignedBy = Annotated[
    Path | None,
    typer.Option(help="File of the key that signs this change.", show_default=_IN_STATE_DIRECTORY, metavar="FILE"),
]


@app.command("create")
def create(
    data: Data = None,
    org: Org = "home",
    name: Annotated[str, typer.Option(help="Display name of the key.")] = "",
    expires: Annotated[
        str | None, typer.Option(help="Lifetime, such as 90d.", show_default="valid until revoked")
    ] = None,
    file: KeyFile = None,
    signed_by: SignedBy = None,
    database: Database = None,
) -> None:
    """Create a signing key. The first of an organisation signs itself; an existing key signs each later one."""
    from ingestor.admin.key_changes import add_key, has_keys
    from runtime.settings.secret_files import write_secret
    from schemas.contract.signing import new_key

    path = file or _default_file(data, org)
    if path.exists():
        raise UserError(f"{path} already contains a key: choose another file with --file")
    until = None if expires is None else CLOCK.now() + round(1000 * to_seconds(expires))
    seed = new_key()
    with fleet_database(data, database) as engine:
        signer = _signer(data, org, signed_by) if has_keys(engine, org) else None
        require_org(engine, org)
        try:
            write_secret(path, seed)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        try:
            id_ = add_key(engine, org, seed, signer=signer, name=name, expires_at=until, now=CLOCK.now)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    typer.echo(id_)
    note(f"The private key is in {path}. Anyone who has it can run actions on the machines of {org}.")


@app.command("list")
def list_(data: Data = None, org: Org = "home", database: Database = None, as_json: Json = False) -> None:
    """List current and former keys: id, name, when created, expired, revoked."""
    from ingestor.admin.key_changes import list_keys

    with fleet_database(data, database, read_only=True) as engine:
        require_org(engine, org)
        found = list_keys(engine, org, now=CLOCK.now)
    show_rows(found, ("id", "name", "created", "expires", "revoked"), as_json=as_json, cells=_cells)


@app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Key id, as shown by `dashfleet key list`.")],
    data: Data = None,
    org: Org = "home",
    signed_by: SignedBy = None,
    database: Database = None,
) -> None:
    """Revoke a key permanently. A key may sign its own revocation."""
    from ingestor.admin.key_changes import revoke_key

    with fleet_database(data, database) as engine:
        revoke_key(engine, org, id_, signer=_signer(data, org, signed_by), now=CLOCK.now)


def _signer(data: Path | None, org: str, given: Path | None) -> str:
    return read_key(
        given or _default_file(data, org),
        missing=f"{org} has a key that must sign this change, but there is no file {{path}}: run this on the host that "
        "has it, or name it with --signed-by",
    )


def read_key(path: Path, *, missing: str) -> str:
    """Return the private key in a file. Raises UserError; `missing` is the message if there is no such file."""
    from runtime.settings.secret_files import read_secret
    from schemas.contract.signing import public_key

    if not path.exists():
        raise UserError(missing.format(path=path))
    seed = read_secret(path)
    try:
        public_key(seed)
    except ValueError:
        raise UserError(f"{path} does not contain a private key: dashfleet key create makes one") from None
    return seed


def _default_file(data: Path | None, org: str) -> Path:
    from runtime.state_directory import StateDirectory
    from schemas.contract.topics import ORG_MAX_LENGTH, is_id

    if not is_id(org, ORG_MAX_LENGTH):
        raise UserError(f"invalid organisation {org!r}: use lower-case letters, digits and hyphens")
    return StateDirectory(data_directory(data)).signing / org


def _cells(key: dict[str, Any]) -> dict[str, str]:
    return {
        "id": key["id"],
        "name": key["name"],
        "created": utc(key["created_at"]),
        "expires": utc(key["expires_at"]) or "never",
        "revoked": utc(key["revoked_at"]),
    }
