"""`dashfleet key`: the keys that sign orders, and whose orders an organisation's machines obey."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Data, Database, Json, data_directory, fleet_database, show, table, to_seconds
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Make the keys that sign orders, list and revoke them.", no_args_is_help=True)

Org = Annotated[str, typer.Option(help="The organisation whose machines obey the key.")]
SignedBy = Annotated[
    Path | None,
    typer.Option(
        help="The file of the key that signs this change.",
        show_default="secrets/signing/ORG in the state directory",
        metavar="FILE",
    ),
]


@app.command("create")
def create(
    data: Data = None,
    org: Org = "home",
    name: Annotated[str, typer.Option(help="What to call it, for people.")] = "",
    expires: Annotated[
        str | None, typer.Option(help="How long it is obeyed, such as 90d.", show_default="until revoked")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Where the private key goes, mode 0600.",
            show_default="secrets/signing/ORG in the state directory",
            metavar="FILE",
        ),
    ] = None,
    signed_by: SignedBy = None,
    database: Database = None,
) -> None:
    """Make a key. The first of an organisation signs for itself; each later one is signed by a key that you hold."""
    from ingestor.admin.key_changes import add_key, has_keys
    from runtime.settings.secret_files import write_secret
    from schemas.contract.signing import new_key

    kept = file or _default_file(data, org)
    if kept.exists():
        raise UserError(f"{kept} holds a key already: say with --file where the new one goes")
    until = None if expires is None else _now() + round(1000 * to_seconds(expires))
    seed = new_key()
    with fleet_database(data, database) as engine:
        signer = _signer(data, org, signed_by) if has_keys(engine, org) else None
        _require_org(engine, org)
        try:
            write_secret(kept, seed)
        except OSError as error:
            raise UserError(f"cannot write {kept}: {error.strerror}") from None
        try:
            id_ = add_key(engine, org, seed, signer=signer, name=name, expires_at=until, now=_now)
        except BaseException:
            kept.unlink(missing_ok=True)
            raise
    typer.echo(id_)
    typer.echo(f"The private key is in {kept}; whoever has it may act on the machines of {org}.", err=True)


@app.command("list")
def list_them(data: Data = None, org: Org = "home", database: Database = None, as_json: Json = False) -> None:
    """List the keys that there are and were: id, name, created, expires, revoked."""
    from ingestor.admin.key_changes import list_keys

    with fleet_database(data, database, read_only=True) as engine:
        _require_org(engine, org)
        found = list_keys(engine, org, now=_now)
    columns = ("id", "name", "created", "expires", "revoked")
    show(found if as_json else table([_shown(key) for key in found], columns))


@app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key, as `dashfleet key list` names it.")],
    data: Data = None,
    org: Org = "home",
    signed_by: SignedBy = None,
    database: Database = None,
) -> None:
    """Let machines obey a key no more, for ever. A key may sign its own end."""
    from ingestor.admin.key_changes import revoke_key

    with fleet_database(data, database) as engine:
        revoke_key(engine, org, id_, signer=_signer(data, org, signed_by), now=_now)


def _signer(data: Path | None, org: str, given: Path | None) -> str:
    """The private key that signs a change. Raises UserError."""
    path = given or _default_file(data, org)
    if not path.exists():
        raise UserError(
            f"{org} has a key, and a change must be signed by it, but there is no {path}: run this where that file is, "
            "or name it with --signed-by"
        )
    return read_key(path)


def read_key(path: Path) -> str:
    """The private key in a file. Raises UserError."""
    from runtime.settings.secret_files import read_secret
    from schemas.contract.signing import public_key

    seed = read_secret(path)
    try:
        public_key(seed)
    except ValueError:
        raise UserError(f"{path} holds no private key: dashfleet key create makes one") from None
    return seed


def _require_org(engine: "Engine", org: str) -> None:
    from schemas.database.queries.settings import has_org

    if not has_org(engine, org):
        raise UserError(f"there is no organisation {org}")


def _default_file(data: Path | None, org: str) -> Path:
    from runtime.state_directory import StateDirectory
    from schemas.contract.topics import ORG_MAX_LENGTH, is_id

    if not is_id(org, ORG_MAX_LENGTH):
        raise UserError(f"{org!r} cannot be an organisation: use lower-case letters, digits and hyphens")
    return StateDirectory(data_directory(data)).signing / org


def _shown(key: dict[str, Any]) -> dict[str, str]:
    return {
        "id": key["id"],
        "name": key["name"],
        "created": _day(key["created_at"]),
        "expires": _day(key["expires_at"]) or "never",
        "revoked": _day(key["revoked_at"]),
    }


def _day(milliseconds: int | None) -> str:
    from datetime import UTC, datetime

    return "" if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _now() -> int:
    return time.time_ns() // 1_000_000
