"""Logged-in users."""

from collections.abc import Iterator
from pathlib import Path

import psutil

from agent.collector import DetailCollector, Details, Item
from agent.host.small_files import read_text
from schemas.contract.facts import FactValue

SESSIONS = Path("/run/systemd/sessions")


class LoggedIn(DetailCollector):
    """Users who are logged in, with terminal, origin and time."""

    facts = ("users",)
    needs = "Linux, macOS, FreeBSD or Windows"

    def present(self) -> bool:
        """Return True everywhere."""
        return True

    def collect(self) -> Details:
        """Return the sessions of systemd, or those that `who` knows where there is no systemd."""
        sessions = dict(_of_systemd() if SESSIONS.is_dir() else _elsewhere())
        return Details(facts={"users": {key: sessions[key] for key in sorted(sessions)}})


def _of_systemd() -> Iterator[tuple[str, Item]]:
    for file in SESSIONS.glob("*"):
        values = dict(line.split("=", 1) for line in read_text(file).splitlines() if "=" in line)
        if not values.get("CLASS", "").startswith("user") or values.get("STATE") == "closing" or "USER" not in values:
            continue
        started = values.get("REALTIME", "")
        terminal = values.get("TTY") or values.get("DISPLAY") or values.get("SERVICE", "")
        yield _item(
            values["USER"],
            terminal,
            values.get("REMOTE_HOST", ""),
            int(started) // 1000 if started.isdecimal() else None,
        )


def _elsewhere() -> Iterator[tuple[str, Item]]:
    for user in psutil.users():
        yield _item(user.name, user.terminal or "", user.host or "", int(user.started * 1000))


def _item(name: str, terminal: str, host: str, started_at: int | None) -> tuple[str, Item]:
    fields: dict[str, FactValue] = {"user": name, "terminal": terminal, "host": host, "started_at": started_at}
    return f"{name} {terminal}".strip(), Item({field: value for field, value in fields.items() if value})
