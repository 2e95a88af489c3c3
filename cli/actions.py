"""`dashfleet act` and `dashfleet commands`: have machines do something, and see what became of it."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import acting
from cli.keys import read_key
from cli.options import Data, Database, Json, Server, effective, fleet_database, show, table, to_seconds, utc
from cli.progress import Progress, line, outputs, picture, summary
from schemas.errors import StartError

if TYPE_CHECKING:
    from rich.live import Live
    from sqlalchemy import Engine

    from broker.requests import RequestClient
    from schemas.commands import Request
    from schemas.settings import ActSettings

app = typer.Typer()
commands = typer.Typer(help="List commands, see what became of one, take some back.", invoke_without_command=True)
app.add_typer(commands, name="commands")

ACCEPT_SECONDS = 30.0
"""How long to wait for the ingestor's answer."""

INTERRUPTED = 130
_READ_SECONDS = 1.0
_EXAMPLES = """
The first word is the action, words with = are its arguments, all others are machines:

    dashfleet act ping web-1 web-2

    dashfleet act message till-7 title="Back at five"

    dashfleet act restart --label site=paris --wait

    dashfleet act reboot --all --status online --canary 3 --per-minute 10 --stop-percent 20

Exit codes with --wait: 0 all succeeded, 1 some did not, 2 nothing was sent, 3 no outcome in time.
"""

Org = Annotated[str | None, typer.Option(help="The organisation whose machines are meant.", show_default="home")]


@app.command(epilog=_EXAMPLES)
def act(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="ACTION [MACHINE]… [NAME=VALUE]…", help="What to do, on which machines, with which arguments."
        ),
    ],
    data: Data = None,
    label: Annotated[list[str] | None, typer.Option(help="Those with this label, NAME=VALUE; may be repeated.")] = None,
    status: Annotated[str | None, typer.Option(help="Those that are online, stale, offline, expired.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every machine of the organisation.")] = False,
    expires: Annotated[str, typer.Option(help="Machines that are away do it when they are back, for so long.")] = "1h",
    wait: Annotated[bool, typer.Option("--wait", help="Stay until every machine has said how it ended.")] = False,
    timeout: Annotated[str, typer.Option(help="With --wait: for how long.")] = "5m",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked of whom, and send nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    canary: Annotated[int, typer.Option(help="So many first; the others only when these ended well.", min=0)] = 0,
    per_minute: Annotated[
        int | None, typer.Option(help="So many machines a minute.", min=1, show_default="all at once")
    ] = None,
    stop_percent: Annotated[
        float, typer.Option(help="Cancel the rest when more than so many percent did not succeed.", min=0, max=100)
    ] = 100.0,
    key: Annotated[
        Path | None,
        typer.Option(
            help="The file of the private key that signs.",
            show_default="secrets/signing/ORG in the state directory",
            metavar="FILE",
        ),
    ] = None,
    org: Org = None,
    server: Server = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Have machines do something."""
    from broker import requests
    from schemas.commands import Rollout
    from schemas.keys import key_id, public_key
    from schemas.settings import ActSettings

    settings: ActSettings = effective(ActSettings, data, None, False, server=server, org=org)
    wanted = acting.wish(words, label or (), status, everybody=everybody)
    with fleet_database(data, database, read_only=True) as engine:
        chosen = acting.plan(engine, settings.org, wanted)
        if chosen.left_out:
            _note(f"left out, as they do not allow it: {acting.named(chosen.left_out)}")
        if dry_run:
            _show_plan(chosen, as_json)
            return
        seed = _key(settings, key)
        if not yes:
            acting.require_meant(chosen, typer.confirm if sys.stdin.isatty() else None)
        strangers = acting.strangers(chosen, key_id(public_key(seed)))
        if strangers:
            _note(f"these do not obey the key that signs, and will refuse: {acting.named(strangers)}")
        rollout = Rollout(canary=canary, per_minute=per_minute, stop_percent=stop_percent)
        orders = _orders(settings.org, chosen, to_seconds(expires))
        asked = requests.act(orders, seed, actor=_person(), rollout=rollout)
        progress = Progress.of(orders, asked)
        _carry_out(settings, engine, asked, progress, to_seconds(timeout) if wait else None, as_json)


@commands.callback()
def list_commands(
    context: typer.Context,
    data: Data = None,
    org: Org = None,
    machine: Annotated[str | None, typer.Option(help="Only those of this machine.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="So many, the newest first.", min=1)] = 50,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """List commands: who asked what of which machine, and what became of it."""
    if context.invoked_subcommand is not None:
        return
    from ingestor.command_list import list_commands as listed

    with fleet_database(data, database, read_only=True) as engine:
        found = listed(engine, org=org, machine=machine, state=state, limit=limit)
    columns = ("id", "created", "machine", "action", "by", "state", "detail")
    show(found if as_json else table([_row(command) for command in found], columns))


@commands.command("show")
def show_command(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The command's id.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Show one command with what it printed and each change of its state."""
    from ingestor.command_list import show_command as shown

    with fleet_database(data, database, read_only=True) as engine:
        found = shown(engine, id_)
    if found is None:
        raise StartError(f"there is no command {id_}: dashfleet commands lists them")
    if as_json:
        import json

        typer.echo(json.dumps(found, indent=2))
    else:
        _tell(found)


@commands.command("cancel")
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The commands' ids.")],
    data: Data = None,
    org: Org = None,
    server: Server = None,
    database: Database = None,
) -> None:
    """Take commands back, those that were not sent to their machines yet."""
    from broker import requests
    from ingestor.targets import command_states
    from schemas.settings import ActSettings

    settings: ActSettings = effective(ActSettings, data, None, False, server=server, org=org)
    with fleet_database(data, database, read_only=True) as engine:
        unknown = [id_ for id_ in ids if id_ not in command_states(engine, ids)]
        if unknown:
            raise StartError(f"there is no command {', '.join(unknown)}: dashfleet commands lists them")
        with _client(settings) as client:
            _publish(settings, client, requests.cancel(ids, actor=_person()), Progress({}))
        after = command_states(engine, ids)
    for id_ in ids:
        typer.echo(f"{id_}  {after[id_]['state']}")
    raise typer.Exit(0 if all(found["state"] == "cancelled" for found in after.values()) else 1)


def _carry_out(
    settings: "ActSettings",
    engine: "Engine",
    asked: "list[Request]",
    progress: Progress,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Publish, follow until everything has ended or time is up, and exit with what came of it."""
    try:
        with _client(settings) as client:
            with _shown(progress, quiet=as_json) as live:
                accepted = _publish(settings, client, asked, progress, live)
                if accepted and seconds is not None:
                    _follow(client, engine, progress, time.monotonic() + seconds, live)
            if not accepted:
                _note(f"the ingestor has not answered within {ACCEPT_SECONDS:.0f} s: nothing may have been accepted")
    except KeyboardInterrupt:
        _note("stopped looking; what was sent goes on. See `dashfleet commands`, or take back what has not begun:")
        _note(f"dashfleet commands cancel {' '.join(progress.unfinished[:3])}{' …' if progress.unfinished[3:] else ''}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        show(progress.plain())
    else:
        for text in outputs(progress.rows.values()):
            typer.echo(text)
        if seconds is None and accepted:
            _note("accepted; `dashfleet commands` says what becomes of it, and --wait stays to see it")
    failed = progress.exit_code == 1
    raise typer.Exit(progress.exit_code if seconds is not None or failed or not accepted else 0)


def _publish(
    settings: "ActSettings",
    client: "RequestClient",
    asked: "list[Request]",
    progress: Progress,
    live: "Live | None" = None,
) -> bool:
    """Publish until every request is answered; whether they were in time. Raises StartError when that cannot be."""
    until = _now() + round(ACCEPT_SECONDS * 1000)
    for request in asked:
        client.send(settings.org, request, until=until)
    while client.pending:
        _hear(client, progress, live)
        if client.refused:
            raise StartError(f"the broker at {settings.server} refused the operator's secret: {client.refused}")
        if _now() >= until:
            if client.trouble:
                raise StartError(f"cannot reach the broker at {settings.server}: {client.trouble}")
            return False
    return True


def _follow(
    client: "RequestClient", engine: "Engine", progress: Progress, deadline: float, live: "Live | None"
) -> None:
    """Take up updates as they come, and what the database says, as an update may have been missed."""
    from ingestor.targets import command_states

    read_at = 0.0
    while not progress.settled and time.monotonic() < deadline:
        _hear(client, progress, live)
        if time.monotonic() - read_at > _READ_SECONDS:
            read_at = time.monotonic()
            _say(progress.read(command_states(engine, progress.unfinished)), progress, live)


def _hear(client: "RequestClient", progress: Progress, live: "Live | None") -> None:
    _say([row for update in client.step(0.2) for row in progress.hear(update)], progress, live)


def _say(changed: "list[Any]", progress: Progress, live: "Live | None") -> None:
    if live is None:
        return
    if live.console.is_terminal:
        live.update(picture(progress))
    else:
        for row in changed:
            typer.echo(line(row))


@contextmanager
def _shown(progress: Progress, *, quiet: bool) -> "Iterator[Live | None]":
    """A picture that is redrawn in a terminal; a line for each change elsewhere; nothing for programs."""
    from rich.console import Console
    from rich.live import Live

    if quiet:
        yield None
        return
    console = Console()
    live = Live(picture(progress), console=console, refresh_per_second=8)
    if not console.is_terminal:
        yield live
        typer.echo(summary(progress))
        return
    with live:
        yield live


@contextmanager
def _client(settings: "ActSettings") -> "Iterator[RequestClient]":
    from broker.access import Principal, Role
    from broker.mqtt import Mqtt
    from broker.requests import OPERATOR_NAME, RequestClient

    principal = Principal(Role.OPERATOR, settings.org, OPERATOR_NAME)
    transport = Mqtt(
        settings.address,
        username=principal.username,
        password=settings.secret(),
        subscriptions=RequestClient.subscriptions(principal),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
    )
    try:
        yield RequestClient(transport, principal, now=_now, monotonic=time.monotonic)
    finally:
        transport.close()


def _orders(org: str, chosen: acting.Plan, lifetime_seconds: float) -> list[Any]:
    from broker.requests import orders
    from schemas.commands import LIFETIME_MAX_SECONDS

    if lifetime_seconds > LIFETIME_MAX_SECONDS:
        raise StartError(f"--expires is {LIFETIME_MAX_SECONDS // 86_400} days at most")
    names = [target.name for target in chosen.targets]
    return orders(names, chosen.action, chosen.arguments, org=org, now=_now(), lifetime_seconds=lifetime_seconds)


def _key(settings: "ActSettings", given: Path | None) -> str:
    path = given or (settings.signing_keys or settings.data) / settings.org
    if not path.exists():
        raise StartError(
            f"there is no key to sign with in {path}: dashfleet key create --org {settings.org} makes one, or name "
            "its file with --key"
        )
    return read_key(path)


def _show_plan(chosen: acting.Plan, as_json: bool) -> None:
    if as_json:
        show(chosen.plain())
        return
    import json

    arguments = json.dumps(dict(chosen.arguments), ensure_ascii=False) if chosen.arguments else ""
    _note(f"nothing is sent. {chosen.action} {arguments} on {acting.named([t.name for t in chosen.targets])}:")
    rows = [{"machine": target.name, "status": target.presence} for target in chosen.targets]
    show(table(rows, ("machine", "status")))


def _row(command: dict[str, Any]) -> dict[str, str]:
    from broker.watch import printable

    plain = {name: printable(str(command[name])) for name in ("id", "machine", "action", "state")}
    why = printable(command["detail"] or command["reason"])
    return {
        **plain,
        "created": utc(command["created_at"]),
        "by": printable(command["actor"] or command["principal"]),
        "detail": why,
    }


def _tell(found: dict[str, Any]) -> None:
    """One command for a person."""
    import json
    from datetime import UTC, datetime

    from broker.watch import printable

    row = _row(found)
    typer.echo(f"{row['action']} on {found['org']}/{row['machine']}: {row['state']}")
    typer.echo(f"asked by {row['by']} at {row['created']} UTC, arguments {json.dumps(found['arguments'])}")
    for change in found["history"]:
        at = datetime.fromtimestamp(change["at"] / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        why = change["detail"] or change["reason"]
        typer.echo(printable(f"  {at}  {change['after']:<10} by {change['by']}" + (f": {why}" if why else "")))
    if found["exit_code"] is not None:
        typer.echo(f"exit code {found['exit_code']}")
    for text in (found["output"] or "").splitlines():
        typer.echo(f"    {printable(text)}")
    if found["output_truncated"]:
        _note("the output was longer and has been cut")


def _person() -> str:
    """Who types, for the history: it decides nothing."""
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"[:256]
    except (OSError, KeyError):  # no user of this number, as in some containers
        return socket.gethostname()[:256]


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _now() -> int:
    return time.time_ns() // 1_000_000
