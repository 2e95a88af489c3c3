"""`dashfleet act`: run an action on machines."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.access.key import read_key
from cli.act.confirmation import confirm, pace, shortened
from cli.act.display import displayed, outputs
from cli.act.own_files import complete
from cli.act.plan import ActWords, plan_action
from cli.act.progress import FAILED, ActProgress
from cli.act.publishing import ACCEPT_SECONDS, MachinesOrg, actor, follow, operator_client, publish
from cli.options import CLOCK, Data, Database, Json, Server, to_seconds
from cli.output import note, show_json, show_rows
from cli.settings import effective, fleet_database
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from runtime.settings.client import ActSettings
    from schemas.actions.action_plan import ActionPlan
    from schemas.contract.commands import Request, Rollout

app = typer.Typer()

INTERRUPTED = 130
_EXAMPLES = """
The first word is the action, words with = are its arguments, all others are machines:

    dashfleet act ping web-1 web-2

    dashfleet act message till-7 title="Back at five"

    dashfleet act restart --label site=paris --wait

    dashfleet act push web-1 from=app.conf path=/srv/app/app.conf mode=0644

    dashfleet act update --label ring=1 --wait --timeout 30m

    dashfleet act reboot --all --status online --canary 3 --per-minute 10 --stop-percent 20

On more than five machines, reboot, restart, run, move, push and update go to 2 machines first, then to 10 per minute
(of more than 300, as many as take half an hour), and stop at 20 % failures. Any option of the pace, or --all-at-once,
replaces all three.

Exit codes with --wait: 0 all succeeded, 1 some did not, 2 nothing was sent, 3 timed out before every outcome was known.
"""

Words = Annotated[
    list[str],
    typer.Argument(metavar="ACTION [MACHINE]… [NAME=VALUE]…", help="Action, machines to run it on, arguments."),
]
Label = Annotated[list[str] | None, typer.Option(help="Select machines with this label, NAME=VALUE; may be repeated.")]
Files = Annotated[
    list[str] | None,
    typer.Option("--file", help="Argument whose value is the content of a file, NAME=FILE; may be repeated."),
]
Status = Annotated[
    str | None, typer.Option(help="Select machines with this status: online, stale, offline or expired.")
]
AllMachines = Annotated[bool, typer.Option("--all", help="Select every machine of the organisation.")]
Expires = Annotated[str, typer.Option(help="Lifetime of the orders: offline machines run them if back in time.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the outcome on every machine.")]
Timeout = Annotated[str, typer.Option(help="Time limit of --wait.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan without sending anything.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Canary = Annotated[
    int | None,
    typer.Option(
        help="Number of canary machines; the rest follow only if all succeed.",
        min=0,
        max=1000,
        show_default="see below",
    ),
]
PerMinute = Annotated[
    int | None,
    typer.Option(help="Maximum number of machines per minute.", min=1, max=100_000, show_default="see below"),
]
StopPercent = Annotated[
    float | None,
    typer.Option(help="Cancel the rest if failures exceed this percentage.", min=0, max=100, show_default="see below"),
]
AllAtOnce = Annotated[bool, typer.Option("--all-at-once", help="Run the action on all machines at once.")]
Key = Annotated[
    Path | None,
    typer.Option(
        help="File of the private key that signs the orders.",
        show_default="secrets/signing/ORG in the state directory",
        metavar="FILE",
    ),
]


@app.command(epilog=_EXAMPLES)
def act(
    words: Words,
    data: Data = None,
    label: Label = None,
    status: Status = None,
    all_machines: AllMachines = False,
    expires: Expires = "1h",
    wait: Wait = False,
    timeout: Timeout = "5m",
    dry_run: DryRun = False,
    yes: Yes = False,
    canary: Canary = None,
    per_minute: PerMinute = None,
    stop_percent: StopPercent = None,
    all_at_once: AllAtOnce = False,
    key: Key = None,
    files: Files = None,
    org: MachinesOrg = None,
    server: Server = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Run an action on machines."""
    from runtime.settings.client import ActSettings

    settings = effective(ActSettings, data, server=server, org=org)
    wanted = ActWords.parse(words, label or (), status, all_machines=all_machines, files=files or ())
    rollout = _rollout(canary, per_minute, stop_percent, all_at_once=all_at_once)
    wanted = complete(wanted, data, settings.org, offer=not dry_run)
    wait_seconds = to_seconds(timeout) if wait else None
    with fleet_database(data, database, read_only=True) as engine:
        plan = plan_action(engine, settings.org, wanted, lifetime_seconds=_lifetime(expires), rollout=rollout)
        if plan.left_out:
            note(f"skipped, as they do not allow it: {shortened(plan.left_out)}")
        if dry_run:
            _show_plan(plan, as_json)
            return
        progress, requests = _sign(settings, plan, key, confirmed=yes)
        _run(settings, engine, requests, progress, wait_seconds, as_json)


def _lifetime(expires: str) -> float:
    from schemas.contract.commands import LIFETIME_MAX_SECONDS

    seconds = to_seconds(expires)
    if seconds > LIFETIME_MAX_SECONDS:
        raise UserError(f"--expires must be at most {LIFETIME_MAX_SECONDS // 86_400} days")
    return seconds


def _rollout(
    canary: int | None, per_minute: int | None, stop_percent: float | None, *, all_at_once: bool
) -> "Rollout | None":
    """Return the rollout that the options ask for, None for the default one. Raises UserError."""
    from schemas.contract.commands import Rollout

    paced = canary is not None or per_minute is not None or stop_percent is not None
    if paced and all_at_once:
        raise UserError("--all-at-once contradicts --canary, --per-minute and --stop-percent: give one or the others")
    if not paced:
        return Rollout() if all_at_once else None
    stop = 100.0 if stop_percent is None else stop_percent
    return Rollout(canary=canary or 0, per_minute=per_minute, stop_percent=stop)


def _show_plan(plan: "ActionPlan", as_json: bool) -> None:
    if not as_json:
        arguments = json.dumps(dict(plan.arguments), ensure_ascii=False) if plan.arguments else ""
        what = " ".join(filter(None, (plan.action, arguments)))
        note(f"dry run: {what} on {shortened(plan.names)}, {pace(plan.rollout)}; nothing was sent")
    show_rows(
        [
            {"machine": target.name, "presence": target.presence, "action": plan.action, "arguments": plan.arguments}
            for target in plan.targets
        ],
        ("machine", "presence"),
        as_json=as_json,
    )


def _sign(
    settings: "ActSettings", plan: "ActionPlan", key: Path | None, *, confirmed: bool
) -> "tuple[ActProgress, list[Request]]":
    """Ask for confirmation and sign the orders."""
    from broker.client import request_client
    from schemas.contract.signing import key_id, public_key

    seed = read_key(
        key or (settings.signing_keys or settings.data) / settings.org,
        missing="there is no signing key {path}: create one with dashfleet key create --org "
        f"{settings.org}, or name its file with --key",
    )
    if not confirmed:
        confirm(plan, _ask if sys.stdin.isatty() else None)
    elif len(plan.targets) > 1:
        note(f"pace: {pace(plan.rollout)}")
    rejecting = plan.rejecting(key_id(public_key(seed)))
    if rejecting:
        note(f"these do not trust the signing key and will reject the order: {shortened(rejecting)}")
    orders = request_client.orders(
        plan.names,
        plan.action,
        plan.arguments,
        org=settings.org,
        now=CLOCK.now(),
        lifetime_seconds=plan.lifetime_seconds,
    )
    requests = request_client.act(orders, seed, actor=actor(), rollout=plan.rollout)
    return ActProgress.of(orders, requests), requests


def _ask(question: str) -> str:
    return str(typer.prompt(question, default="", show_default=False, err=True))


def _run(
    settings: "ActSettings",
    engine: "Engine",
    requests: "list[Request]",
    progress: ActProgress,
    wait_seconds: float | None,
    as_json: bool,
) -> None:
    """Publish, follow until all commands are settled or time is up, and exit with the outcome."""
    try:
        with operator_client(settings) as client:
            with displayed(progress, quiet=as_json) as display:
                started, limit = CLOCK.monotonic(), min(ACCEPT_SECONDS, wait_seconds or ACCEPT_SECONDS)
                accepted = publish(settings, client, requests, display.apply, limit)
                if accepted and wait_seconds is not None:
                    follow(client, engine, display, wait_seconds - (CLOCK.monotonic() - started))
            if not accepted:
                note(f"no answer from the ingestor within {limit:g} s: the request may not be accepted")
    except KeyboardInterrupt:
        note("interrupted; commands that were sent continue. `dashfleet commands` lists them. To cancel queued ones:")
        note(f"dashfleet commands cancel {' '.join(progress.unfinished[:3])}{' …' if progress.unfinished[3:] else ''}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        show_json(progress.plain())
    else:
        for text in outputs(progress.commands.values()):
            typer.echo(text)
        if wait_seconds is None and accepted:
            note("accepted; `dashfleet commands` shows the outcome, or use --wait")
    only_accepted = wait_seconds is None and accepted and progress.exit_code != FAILED
    raise typer.Exit(0 if only_accepted else progress.exit_code)
