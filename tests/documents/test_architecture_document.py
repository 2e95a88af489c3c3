"""The state machines in `docs/architecture.md` are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

from ingestor.domain import presence
from ingestor.domain.presence import Presence, PresenceState
from schemas.contract.commands import FINAL, TRANSITIONS, CommandState
from schemas.contract.messages import Status
from schemas.contract.org_config import OrgConfig

TEXT = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
CONFIG = OrgConfig()
SESSION = 10
NOW = 10**12
SILENCES = (0, 1, 46, 181, CONFIG.time_to_live_seconds + 1)

Edge = tuple[str, str]


def diagram(heading: str) -> set[Edge]:
    """Return the transitions that the diagram below this heading draws; `[*]` is its begin or end."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    chart = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", section, flags=re.DOTALL)
    assert len(chart) == 1
    names = {alias: name for name, alias in re.findall(r'state "([^"]+)" as (\w+)', chart[0])}
    edges = re.findall(r"^ +(\S+) --> (\S+?):?(?: .*)?$", chart[0], flags=re.MULTILINE)
    assert len(edges) == len(set(edges))
    return {(names.get(before, before), names.get(after, after)) for before, after in edges}


def status(state: str, session: int, reason: str | None) -> Status:
    return Status.model_validate(
        {"v": 1, "state": state, "reason": reason, "session": session, "at": NOW, "interval_seconds": 10}
    )


def successors(state: PresenceState) -> Iterator[PresenceState]:
    """Yield what each event, at several times, makes of a state."""
    for silence in SILENCES:
        now = (state.last_seen_at or NOW) + silence * 1000
        for session in (SESSION, SESSION + 1):
            for retained in (False, True):
                yield presence.on_status(state, status("online", session, None), now, retained=retained)
                for reason in ("lost", "stopped"):
                    yield presence.on_status(state, status("offline", session, reason), now, retained=retained)
            yield presence.on_live(state, session, now)
        yield presence.on_tick(state, CONFIG, now, hearing_since=NOW)
        yield presence.on_tick(state, CONFIG, now, hearing_since=None)
        yield presence.on_revoked(state, now)
        yield presence.on_reinstated(state, now)
    yield presence.on_blind(state)


def reachable() -> set[Edge]:
    """Return the transitions of the code, by exploring it from the state `unknown`."""
    found, seen, waiting = set(), set[PresenceState](), [PresenceState()]
    while waiting:
        before = waiting.pop()
        for after in successors(before):
            if after.presence is not before.presence:
                found.add((before.presence.value, after.presence.value))
            key = _without_times(after)
            if key not in seen:
                seen.add(key)
                waiting.append(after)
    return found


def _without_times(state: PresenceState) -> PresenceState:
    dying = None if state.dying_at is None else NOW
    return PresenceState(
        state.presence, state.reason, 0, state.verified, state.connected, state.session, 10.0, None, dying
    )


def test_the_diagram_of_commands_has_the_transitions_of_the_code() -> None:
    expected = {("[*]", CommandState.QUEUED.value)}
    expected |= {(before.value, after.value) for before, some in TRANSITIONS.items() for after in some}
    expected |= {(state.value, "[*]") for state in FINAL}
    assert diagram("States of a command") == expected


def test_the_diagram_of_presence_has_the_transitions_of_the_code() -> None:
    assert diagram("States of presence") == reachable() | {("[*]", Presence.UNKNOWN.value)}
