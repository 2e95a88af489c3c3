"""`dashfleet act`: have machines do something."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.act import plan
from cli.act.progress import Progress, outputs
from cli.act.publishing import ACCEPT_SECONDS, Org, client_of, follow, note, now, person, publish, shown
from cli.keys import read_key
from cli.options import Data, Database, Json, Server, effective, fleet_database, show, table, to_seconds
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from runtime.settings.client import ActSettings
    from schemas.contract.commands import Request

app = typer.Typer()

INTERRUPTED = 130
_EXAMPLES = """
The first word is the action, words with = are its arguments, all others are machines:

    dashfleet act ping web-1 web-2

    dashfleet act message till-7 title="Back at five"

    dashfleet act restart --label site=paris --wait

    dashfleet act reboot --all --status online --canary 3 --per-minute 10 --stop-percent 20

Exit codes with --wait: 0 all succeeded, 1 some did not, 2 nothing was sent, 3 no outcome in time.
"""


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
    from broker.client import request_client
    from runtime.settings.client import ActSettings
    from schemas.contract.commands import Rollout
    from schemas.contract.signing import key_id, public_key

    settings: ActSettings = effective(ActSettings, data, None, False, server=server, org=org)
    wanted = plan.wish(words, label or (), status, everybody=everybody)
    with fleet_database(data, database, read_only=True) as engine:
        chosen = plan.plan(engine, settings.org, wanted)
        if chosen.left_out:
            note(f"left out, as they do not allow it: {plan.named(chosen.left_out)}")
        if dry_run:
            _show_plan(chosen, as_json)
            return
        seed = _key(settings, key)
        if not yes:
            plan.require_meant(chosen, typer.confirm if sys.stdin.isatty() else None)
        strangers = plan.strangers(chosen, key_id(public_key(seed)))
        if strangers:
            note(f"these do not obey the key that signs, and will refuse: {plan.named(strangers)}")
        rollout = Rollout(canary=canary, per_minute=per_minute, stop_percent=stop_percent)
        orders = _orders(settings.org, chosen, to_seconds(expires))
        asked = request_client.act(orders, seed, actor=person(), rollout=rollout)
        progress = Progress.of(orders, asked)
        _carry_out(settings, engine, asked, progress, to_seconds(timeout) if wait else None, as_json)


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
        with client_of(settings) as client:
            with shown(progress, quiet=as_json) as live:
                accepted = publish(settings, client, asked, progress, live)
                if accepted and seconds is not None:
                    follow(client, engine, progress, time.monotonic() + seconds, live)
            if not accepted:
                note(f"the ingestor has not answered within {ACCEPT_SECONDS:.0f} s: nothing may have been accepted")
    except KeyboardInterrupt:
        note("stopped looking; what was sent goes on. See `dashfleet commands`, or take back what has not begun:")
        note(f"dashfleet commands cancel {' '.join(progress.unfinished[:3])}{' …' if progress.unfinished[3:] else ''}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        show(progress.plain())
    else:
        for text in outputs(progress.rows.values()):
            typer.echo(text)
        if seconds is None and accepted:
            note("accepted; `dashfleet commands` says what becomes of it, and --wait stays to see it")
    failed = progress.exit_code == 1
    raise typer.Exit(progress.exit_code if seconds is not None or failed or not accepted else 0)


def _orders(org: str, chosen: plan.Plan, lifetime_seconds: float) -> list[Any]:
    from broker.client.request_client import orders
    from schemas.contract.commands import LIFETIME_MAX_SECONDS

    if lifetime_seconds > LIFETIME_MAX_SECONDS:
        raise UserError(f"--expires is {LIFETIME_MAX_SECONDS // 86_400} days at most")
    names = [target.name for target in chosen.targets]
    return orders(names, chosen.action, chosen.arguments, org=org, now=now(), lifetime_seconds=lifetime_seconds)


def _key(settings: "ActSettings", given: Path | None) -> str:
    path = given or (settings.signing_keys or settings.data) / settings.org
    if not path.exists():
        raise UserError(
            f"there is no key to sign with in {path}: dashfleet key create --org {settings.org} makes one, or name "
            "its file with --key"
        )
    return read_key(path)


def _show_plan(chosen: plan.Plan, as_json: bool) -> None:
    if as_json:
        show(chosen.plain())
        return
    import json

    arguments = json.dumps(dict(chosen.arguments), ensure_ascii=False) if chosen.arguments else ""
    note(f"nothing is sent. {chosen.action} {arguments} on {plan.named([t.name for t in chosen.targets])}:")
    rows = [{"machine": target.name, "status": target.presence} for target in chosen.targets]
    show(table(rows, ("machine", "status")))
