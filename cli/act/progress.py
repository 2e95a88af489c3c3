"""Progress of the commands of one `dashfleet act`, from updates over MQTT and from the database. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.contract.commands import Order, Request, Update

SENDING = "sending"
"""Published, not yet accepted by the ingestor."""

SUCCEEDED, UNFINISHED, FAILED = 0, 3, 1
FINAL = frozenset(("succeeded", "failed", "rejected", "expired", "cancelled", "refused"))
_REPORTED = ("state", "reason", "detail", "exit_code", "output")


@dataclass(slots=True)
class CommandProgress:
    """State of one command."""

    command: str
    machine: str
    state: str = SENDING
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    output: str | None = None
    _seen: set[str] = field(default_factory=set)

    def advance(self, reported: Mapping[str, Any]) -> bool:
        """Set the reported state; return True if it changed. A final state never changes, an earlier one never returns.

        The updates over MQTT are ahead of the states read from the database.
        """
        if self.state in FINAL or reported["state"] in self._seen:
            return False
        self._seen.add(reported["state"])
        for name in _REPORTED:
            setattr(self, name, reported[name])
        return True

    @property
    def explanation(self) -> str:
        """The reason for the state."""
        return self.detail or self.reason


@dataclass(slots=True)
class ActProgress:
    """States of all commands, by id."""

    commands: dict[str, CommandProgress]
    _carried: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, orders: "Sequence[Order]", requests: "Sequence[Request]") -> "ActProgress":
        """Follow these orders, which the requests carry."""
        from broker.client.request_client import carried

        return cls({order.id: CommandProgress(order.id, order.machine) for order in orders}, carried(orders, requests))

    def apply(self, update: "Update") -> list[CommandProgress]:
        """Apply an update; return the commands it changed. A refused request refuses all its commands."""
        if update.command is not None:
            ids: Sequence[str] = [update.command]
        else:
            ids = self._carried.get(update.request, ()) if update.state == "refused" else ()
        reported = {name: getattr(update, name) for name in _REPORTED}
        return self.apply_states(dict.fromkeys(ids, reported))

    def apply_states(self, states: Mapping[str, Mapping[str, Any]]) -> list[CommandProgress]:
        """Apply states recorded in the database, by command id; return the commands that changed."""
        known = [(self.commands[id_], state) for id_, state in states.items() if id_ in self.commands]
        return [command for command, state in known if command.advance(state)]

    @property
    def counts(self) -> dict[str, int]:
        """Number of commands in each state."""
        return dict(Counter(command.state for command in self.commands.values()))

    @property
    def unfinished(self) -> list[str]:
        """Ids of commands whose state may still change; that of a timed-out command does if a late result arrives."""
        return [command.command for command in self.commands.values() if command.state not in FINAL]

    @property
    def settled(self) -> bool:
        """Whether there is no outcome left to wait for."""
        return self.counts.keys() <= FINAL | {"timed-out"}

    @property
    def exit_code(self) -> int:
        """0 if all succeeded, 1 if some did not, 3 if outcomes are missing."""
        states = set(self.counts)
        if states & (FINAL - {"succeeded"}):
            return FAILED
        return SUCCEEDED if states == {"succeeded"} else UNFINISHED

    def plain(self) -> list[dict[str, Any]]:
        """Return the form that `dashfleet act --json` documents."""
        names = ("command", "machine", *_REPORTED)
        return [{name: getattr(command, name) for name in names} for command in self.commands.values()]
