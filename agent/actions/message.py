"""A message to the people at the machine.

Invariants:
- There is no shell, and a text is one element of argv behind everything that could take it for an option.
- What a program would read in a text (markup, backslashes) is escaped for that program, so people see what was written.
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
from agent.orders.child_environment import clean_environment

SHOW_SECONDS = 10.0
BUSES = Path("/run/user")
"""Where Linux has a directory for everybody who is logged in, with the session bus in it."""

_APPLESCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)
_MB_ICONS = {"low": 0x40, "normal": 0x40, "critical": 0x30}
_MB_SETFOREGROUND = 0x10000


class MessageArguments(Arguments):
    """What is shown."""

    title: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
    text: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] = ""
    urgency: Literal["low", "normal", "critical"] = "normal"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One program that may show the message, with the environment and the user that it needs."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: int | None = None


def attempts(arguments: MessageArguments, *, platform: str = sys.platform, buses: Path = BUSES) -> list[Attempt]:
    """What may show the message here, to each person who is logged in; nothing where there is no desktop."""
    if platform == "darwin":
        return [Attempt(osascript(arguments))]
    found = [
        Attempt(
            notify_send(arguments),
            {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}", "XDG_RUNTIME_DIR": str(bus.parent)},
            None if owner == os.geteuid() else owner,
        )
        for bus, owner in _buses(buses)
        if os.geteuid() in (0, owner)  # root may become them, and nobody else
    ]
    if not found and "DBUS_SESSION_BUS_ADDRESS" in os.environ:
        found.append(Attempt(notify_send(arguments)))
    if "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ:
        found.append(Attempt(zenity(arguments)))
    return found


def notify_send(arguments: MessageArguments) -> list[str]:
    """It reads markup in the text, and backslashes."""
    text = _without_backslashes(_without_markup(arguments.text))
    return ["notify-send", "--app-name=DashFleet", f"--urgency={arguments.urgency}", "--", arguments.title, text]


def zenity(arguments: MessageArguments) -> list[str]:
    """It is told to read no markup, but it reads backslashes."""
    kind = "--warning" if arguments.urgency == "critical" else "--info"
    text = _without_backslashes(arguments.text or arguments.title)
    return ["zenity", kind, "--no-markup", "--timeout=600", f"--title={arguments.title}", f"--text={text}"]


def osascript(arguments: MessageArguments) -> list[str]:
    """The script is ours, whole, and the texts are its arguments: nothing of them is AppleScript."""
    script = [word for line in _APPLESCRIPT for word in ("-e", line)]
    return ["osascript", *script, "--", arguments.title, arguments.text]


def show(attempt: Attempt) -> str:
    """Run one program; what went wrong, or nothing. One that shows the message until somebody closes it goes on."""
    try:
        options = {} if attempt.user is None else _as_user(attempt.user)
        process = subprocess.Popen(
            attempt.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**clean_environment(), **attempt.environment},
            start_new_session=True,
            cwd="/",
            **options,
        )
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        return f"{attempt.argv[0]}: {error}"
    try:
        code = process.wait(SHOW_SECONDS)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, name="message", daemon=True).start()
        return ""
    return f"{attempt.argv[0]} ended with {code}" if code else ""


@action(MessageArguments, title="Show a message")
def message(arguments: MessageArguments, _context: ActionContext) -> Outcome:
    """Shown to everybody who is logged in at a desktop; it fails when nobody is."""
    if sys.platform == "win32":
        return _message_box(arguments)
    problems = []
    shown = 0
    for attempt in attempts(arguments):
        if shown and attempt.argv[0] == "zenity":
            continue  # the second best, for where there are no notifications
        problem = show(attempt)
        shown += not problem
        problems += [problem] if problem else []
    if shown:
        return Outcome.succeeded(f"The message is shown on {shown} desktop{'' if shown == 1 else 's'}.")
    return Outcome.failed("no-desktop", "; ".join(problems) or "nobody is logged in at a desktop of this machine")


def _message_box(arguments: MessageArguments) -> Outcome:
    """It waits for a click, so a thread waits for it."""
    if sys.platform == "win32":
        show_box = ctypes.windll.user32.MessageBoxW
        how = _MB_ICONS[arguments.urgency] | _MB_SETFOREGROUND
        threading.Thread(target=show_box, args=(None, arguments.text, arguments.title, how), daemon=True).start()
    return Outcome.succeeded("The message is shown.")


def _buses(directory: Path) -> Iterator[tuple[Path, int]]:
    """The session bus of each person who is logged in, if it is surely theirs."""
    for place in sorted(directory.glob("[0-9]*/bus")):
        try:
            owner = place.stat().st_uid
            if str(owner) == place.parent.name and place.parent.stat().st_uid == owner:
                yield place, owner
        except OSError:
            continue


def _as_user(user: int) -> dict[str, Any]:
    """What lets a program run as this user and with none of root's groups. Raises KeyError when there is none."""
    import pwd  # Windows has none

    return {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}


def _without_markup(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _without_backslashes(text: str) -> str:
    return text.replace("\\", "\\\\")
