"""The judgement of a target that several machines probe. Pure.

Invariants:
- A target is down while at least `quorum` of the machines that probe it say so, or all of them if they are fewer.
- A machine that is not online, or could not find out, says nothing. If no machine says anything, nothing is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.contract.facts import FactValue


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """The result of one machine. `reachable`: None if it says nothing."""

    machine: str
    reachable: bool | None


@dataclass(frozen=True, slots=True)
class TargetState:
    """The state of a target. `is_down`: None if nothing is known.

    `names` are the machines that cannot reach it, `of` is the number of machines that say anything.
    """

    is_down: bool | None
    names: tuple[str, ...] = ()
    of: int = 0


def read_verdict(machine: str, health: str | None, fields: Mapping[str, FactValue], *, is_online: bool) -> ProbeVerdict:
    """Return the verdict in an item of the facts `probes`. One failed attempt is not yet a verdict."""
    reachable = fields.get("reachable")
    says = is_online and health != "unknown" and isinstance(reachable, bool)
    return ProbeVerdict(machine, bool(reachable) if says else None)


def judge_target(verdicts: Iterable[ProbeVerdict], quorum: int) -> TargetState:
    """Return the state of a target that these machines probe; without any machine it is not down."""
    found = list(verdicts)
    said = [verdict for verdict in found if verdict.reachable is not None]
    if found and not said:
        return TargetState(None)
    names = tuple(sorted(verdict.machine for verdict in said if not verdict.reachable))
    return TargetState(bool(names) and len(names) >= min(quorum, len(said)), names, len(said))
