"""Configuration of sampling: the owner's settings, and over them the configuration of an operator.

Invariants:
- Requested configurations are ordered by the time of issue of their orders, which is signed: an older one is never
  applied again, by any sender, and neither is one that was reverted. The version in `info` decides nothing.
- A configuration is on trial until the agent has connected with it. Without that within TRIAL_SECONDS, the one before
  it is in force again, also when the agent was restarted meanwhile.
- It changes only the fields of `RequestedConfiguration`: allowed actions and trusted keys stay the owner's.
- Probes are added to the owner's, as far as the owner's allow-list permits their targets now.
"""

import logging
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from agent.action import Arguments
from runtime import files
from runtime.clock import Clock
from runtime.settings.agent import AgentSettings, CommandName
from runtime.settings.probe import LINE_MAX, merge_requested
from schemas.contract.messages import METRICS_MAX, ContractModel, Count, Labels, MetricName, Milliseconds

TRIAL_SECONDS = 60.0
REQUESTED_MAX = 32
"""Probes that an operator may request of one machine."""

log = logging.getLogger(__name__)


class RequestedConfiguration(Arguments):
    """A whole configuration: a field that is not set keeps the value of the machine's owner."""

    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] | None = None
    labels: Labels | None = None
    collectors_off: Annotated[list[MetricName], Field(max_length=METRICS_MAX)] = Field(default_factory=list)
    probes: Annotated[
        dict[CommandName, Annotated[str, Field(max_length=LINE_MAX)]], Field(max_length=REQUESTED_MAX)
    ] = Field(default_factory=dict)


class IssuedConfiguration(ContractModel):
    """A configuration, when its order was issued, and the version that the ingestor assigned (0: none yet)."""

    requested: RequestedConfiguration = RequestedConfiguration()
    issued_at: Milliseconds = 0
    version: Count = 0


class ConfigurationFile(ContractModel):
    """Content of the file. With `before`, the one in force is on trial, and `before` returns if the trial fails."""

    in_force: IssuedConfiguration = IssuedConfiguration()
    before: IssuedConfiguration | None = None
    reverted_at: Milliseconds = 0


class Configuration:
    """The configuration of one machine. `settings` are its owner's."""

    def __init__(self, path: Path, settings: AgentSettings, clock: Clock) -> None:
        self.revision = 0
        """Grows when another configuration is in force: the agent then applies it and reconnects."""
        self._path = path
        self._owners = settings
        self._clock = clock
        self._file = self._read()
        self._trial_until = clock.monotonic() + TRIAL_SECONDS

    @property
    def settings(self) -> AgentSettings:
        """The settings in force."""
        requested = self._file.in_force.requested
        values: dict[str, Any] = {"interval_seconds": requested.interval_seconds, "labels": requested.labels}
        if requested.probes:
            values["probes"] = merge_requested(self._owners.probes, requested.probes, self._owners.probe_targets)
        return self._owners.model_copy(update={name: value for name, value in values.items() if value is not None})

    @property
    def collectors_off(self) -> frozenset[str]:
        """Names of the collectors that the owner or an operator has switched off."""
        return frozenset((*self._owners.collectors_off, *self._file.in_force.requested.collectors_off))

    @property
    def version(self) -> int:
        """Version in force, 0 for the owner's settings."""
        return self._file.in_force.version

    @property
    def proved_at(self) -> int:
        """Time of issue of the last configuration that the agent has connected with."""
        return (self._file.before or self._file.in_force).issued_at

    @property
    def reverted_at(self) -> int:
        """Time of issue of the last configuration that was reverted, 0 for none."""
        return self._file.reverted_at

    def apply(self, requested: RequestedConfiguration, issued_at: int, version: int | None = None) -> str:
        """Apply a configuration that was issued at this time; return why it was not applied, or an empty string.

        If it is in force already, only its version is updated.
        """
        current = self._file.in_force
        new = IssuedConfiguration(
            requested=requested, issued_at=issued_at, version=current.version if version is None else version
        )
        if issued_at == self.reverted_at:
            return "it was reverted here, since the agent could not connect with it"
        if issued_at < current.issued_at or (issued_at == current.issued_at and requested != current.requested):
            return "one that was ordered later is in force here"
        if new == current:
            return ""
        if issued_at == current.issued_at:
            return self._write(self._file.model_copy(update={"in_force": new}))
        before = self._file.before or current
        problem = self._write(ConfigurationFile(in_force=new, before=before, reverted_at=self.reverted_at))
        if not problem:
            log.info("another configuration is on trial")
            self._trial_until = self._clock.monotonic() + TRIAL_SECONDS
            self.revision += 1
        return problem

    def connected(self) -> None:
        """Record that the agent has connected with the configuration in force, which ends its trial."""
        if self._file.before is not None:
            log.info("the configuration on trial was proved")
            self._end_trial(self._file.model_copy(update={"before": None}))

    def check_trial(self) -> None:
        """Revert a configuration that was not proved in time."""
        file = self._file
        if file.before is not None and self._clock.monotonic() >= self._trial_until:
            log.error("could not connect with the configuration on trial: reverted to the one before")
            self._end_trial(ConfigurationFile(in_force=file.before, reverted_at=file.in_force.issued_at))
            self.revision += 1

    def _end_trial(self, file: ConfigurationFile) -> None:
        """Apply the result, also when it cannot be written: the next process then repeats the trial."""
        if problem := self._write(file):
            log.warning("%s", problem)
            self._file = file

    def _write(self, file: ConfigurationFile) -> str:
        try:
            files.replace(self._path, file.model_dump_json(indent=2) + "\n")
        except OSError as error:
            return f"cannot write {self._path}: {error.strerror}"
        self._file = file
        return ""

    def _read(self) -> ConfigurationFile:
        try:
            return ConfigurationFile.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ConfigurationFile()
        except (OSError, ValidationError) as error:
            log.error("cannot read %s, so the configuration of operators is lost: %s", self._path, error)
            return ConfigurationFile()
