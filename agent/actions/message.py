"""The action `message`: show a message to the users of the machine.

Invariants:
- There is no shell, and a text is one element of argv, after everything that could make it an option.
- Characters that a program interprets (markup, backslashes) are escaped for it, so the text is shown as it was written.
"""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.host.calls.child_environment import clean_environment

SHOW_SECONDS = 10.0
BUSES = Path("/run/user")
"""Directory in which Linux has a directory per logged-in user, with the session bus in it."""

_APPLESCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)
_MB_ICONS = {"low": 0x40, "normal": 0x40, "critical": 0x30}
_MB_SETFOREGROUND = 0x10000


class MessageArguments(Arguments):
    """Message to show."""

    title: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
    text: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] = ""
    urgency: Literal["low", "normal", "critical"] = "normal"


@dataclass(frozen=True, slots=True)
class NotificationProgram:
    """A program that may show the message, with the environment and the user that it needs."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: int | None = None


def programs(
    arguments: MessageArguments, *, platform: str = sys.platform, buses: Path = BUSES
) -> list[NotificationProgram]:
    """Return the programs that may show the message to each logged-in user; none without a desktop."""
    if platform == "darwin":
        return [NotificationProgram(osascript(arguments))]
    found = [
        NotificationProgram(
            notify_send(arguments),
            {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}", "XDG_RUNTIME_DIR": str(bus.parent)},
            None if owner == os.geteuid() else owner,
        )
        for bus, owner in _buses(buses)
        if os.geteuid() in (0, owner)  # only root may act as another user
    ]
    if not found and "DBUS_SESSION_BUS_ADDRESS" in os.environ:
        found.append(NotificationProgram(notify_send(arguments)))
    if "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ:
        found.append(NotificationProgram(zenity(arguments)))
    return found


def notify_send(arguments: MessageArguments) -> list[str]:
    """Return the argv; the program interprets markup in the text, and backslashes."""
    text = arguments.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return [
        "notify-send",
        "--app-name=DashFleet",
        f"--urgency={arguments.urgency}",
        "--",
        arguments.title,
        _without_backslashes(text),
    ]


def zenity(arguments: MessageArguments) -> list[str]:
    """Return the argv; the program interprets backslashes, and with `--no-markup` no markup."""
    kind = "--warning" if arguments.urgency == "critical" else "--info"
    text = _without_backslashes(arguments.text or arguments.title)
    return ["zenity", kind, "--no-markup", "--timeout=600", f"--title={arguments.title}", f"--text={text}"]


def osascript(arguments: MessageArguments) -> list[str]:
    """Return the argv; the script is constant and the texts are its arguments, so they are no AppleScript."""
    script = [word for line in _APPLESCRIPT for word in ("-e", line)]
    return ["osascript", *script, "--", arguments.title, arguments.text]


def show(program: NotificationProgram) -> str:
    """Run a program; return what failed, or an empty string. It may run on until the user closes the message."""
    try:
        options = {} if program.user is None else _as_user(program.user)
        process = subprocess.Popen(
            program.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**clean_environment(), **program.environment},
            start_new_session=True,
            cwd="/",
            **options,
        )
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        return f"{program.argv[0]}: {error}"
    try:
        code = process.wait(SHOW_SECONDS)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, name="message", daemon=True).start()
        return ""
    return f"{program.argv[0]} ended with {code}" if code else ""


@action(MessageArguments, title="Show a message")
def message(arguments: MessageArguments, _context: ActionContext) -> Outcome:
    """Show the message to every user at a desktop; fail when there is none."""
    if sys.platform == "win32":
        return _message_box(arguments)
    problems = []
    shown = 0
    for program in programs(arguments):
        if shown and program.argv[0] == "zenity":
            continue  # only for desktops without notifications
        problem = show(program)
        shown += not problem
        problems += [problem] if problem else []
    if shown:
        return Outcome.succeeded(f"The message is shown on {shown} desktop{'' if shown == 1 else 's'}.")
    return Outcome.failed("no-desktop", "; ".join(problems) or "no user is logged in at a desktop of this machine")


def _message_box(arguments: MessageArguments) -> Outcome:
    """Open a message box in a thread, as it waits for a click."""
    if sys.platform == "win32":
        show_box = ctypes.windll.user32.MessageBoxW
        how = _MB_ICONS[arguments.urgency] | _MB_SETFOREGROUND
        threading.Thread(target=show_box, args=(None, arguments.text, arguments.title, how), daemon=True).start()
    return Outcome.succeeded("The message is shown.")


def _buses(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield the session bus of each logged-in user, if that user certainly owns it."""
    for place in sorted(directory.glob("[0-9]*/bus")):
        try:
            owner = place.stat().st_uid
            if str(owner) == place.parent.name and place.parent.stat().st_uid == owner:
                yield place, owner
        except OSError:
            continue


def _as_user(user: int) -> dict[str, Any]:
    """Return options to run as this user, without root's groups. Raises KeyError for an unknown user."""
    import pwd  # Windows has none

    return {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}


def _without_backslashes(text: str) -> str:
    return text.replace("\\", "\\\\")
