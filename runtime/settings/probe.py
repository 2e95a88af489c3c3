"""A probe in the settings of an agent, `[agent.probes.NAME]`, or in a line of an operator.

Invariant: a line sets no option that names a file of the machine.
"""

import shlex
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from runtime.settings.check_program import require_interval
from runtime.settings.probe_target import ProbeTarget, parse_pattern, parse_target, permits

LINE_MAX: Final = 400
PROBES_MAX: Final = 64

Status = Annotated[int, Field(ge=100, le=599)]


class Probe(BaseModel):
    """A probe of one target. See docs/probes.md for what counts as reachable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    failures: Annotated[int, Field(ge=1, le=100)] = 2
    status: Annotated[tuple[Status, ...], Field(max_length=32)] = ()
    contains: Annotated[str, Field(max_length=200)] = ""
    address: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    certificate_warning_days: Annotated[float, Field(ge=0, le=3650)] = 21.0
    certificate_critical_days: Annotated[float, Field(ge=0, le=3650)] = 7.0
    ca_file: Path | None = None

    @field_validator("target")
    @classmethod
    def _is_target(cls, target: str) -> str:
        parse_target(target)
        return target

    @field_validator("address")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_address(address)) for address in addresses)

    @property
    def parsed(self) -> ProbeTarget:
        """The target in its parts."""
        return parse_target(self.target)


class RequestedProbe(Probe):
    """A probe of an operator: a name in its target must not lead to this machine (`agent.probes.addresses`)."""


def check_requested(lines: Mapping[str, str], patterns: Sequence[str], detail_seconds: float = 0.0) -> None:
    """Raise ValueError, with a sentence, if the owner's patterns do not permit one of these lines."""
    permitted = [parse_pattern(pattern) for pattern in patterns]
    for name, line in lines.items():
        try:
            probe = read_line(line)
            require_interval("it", probe.interval_seconds, detail_seconds)
        except ValueError as error:
            raise ValueError(f"probe {name}: {error}") from None
        if not permits(permitted, probe.parsed):
            raise ValueError(f"probe {name}: the owner of this machine does not permit the target (probe_targets)")


def merge_requested(owners: Mapping[str, Probe], lines: Mapping[str, str], patterns: Sequence[str]) -> dict[str, Probe]:
    """Return the probes of the owner, and those of these lines that the patterns permit, PROBES_MAX in all.

    A name or target of the owner's is not replaced.
    """
    found, targets = dict(owners), {probe.target for probe in owners.values()}
    for name, line in lines.items():
        try:
            check_requested({name: line}, patterns)
        except ValueError:
            continue
        probe = read_line(line)
        if name not in found and probe.target not in targets and len(found) < PROBES_MAX:
            found[name] = probe
            targets.add(probe.target)
    return found


def require_different_targets(probes: dict[str, Probe]) -> dict[str, Probe]:
    """Return the probes. Raises ValueError if two have one target."""
    targets: dict[str, str] = {}
    for name, probe in probes.items():
        if (other := targets.setdefault(probe.target, name)) != name:
            raise ValueError(f"the probes {other} and {name} have the same target: name it once")
    return probes


def read_line(line: str) -> RequestedProbe:
    """Return the probe of a line, `TARGET [OPTION=VALUE] …`. Raises ValueError with a sentence."""
    try:
        target, *options = shlex.split(line[: LINE_MAX + 1]) if len(line) <= LINE_MAX else []
    except ValueError:
        raise ValueError(f"a probe is a target and options in at most {LINE_MAX} characters") from None
    values: dict[str, Any] = {"target": target}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name in ("target", "ca_file"):
            raise ValueError(f"{name} is no option of a probe")
        values[name] = value.split(",") if name in ("status", "address") else value
    try:
        return RequestedProbe.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {message}") from None


def check_patterns(patterns: list[str]) -> list[str]:
    """Return the patterns. Raises ValueError for one that is none."""
    for pattern in patterns:
        parse_pattern(pattern)
    return patterns
