"""What this machine measures and how often: its owner's settings, and over them what an operator has wished for.

Invariants:
- Wishes are ordered by the time at which their orders were issued, which is signed: an older one is never taken up
  again, whoever says it, and neither is one that failed. The version that `info` reports decides nothing.
- A wish is on trial until the agent has connected with it. Without that within TRIAL_SECONDS, the configuration before
  it is in force again, also when the agent was restarted meanwhile.
- It changes what `Wish` names and nothing else: what is allowed, and whom the machine obeys, stays its owner's.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from agent.action import Arguments
from runtime import files
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import METRICS_MAX, ContractModel, Count, Labels, MetricName, Milliseconds

TRIAL_SECONDS = 60.0

log = logging.getLogger(__name__)


class Wish(Arguments):
    """A whole configuration: what it does not name is as the machine's owner has set it."""

    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] | None = None
    labels: Labels | None = None
    collectors_off: Annotated[list[MetricName], Field(max_length=METRICS_MAX)] = Field(default_factory=list)


class Dated(ContractModel):
    """A wish, when its order was issued, and the version that the ingestor gave it, 0 before it has."""

    wish: Wish = Wish()
    issued_at: Milliseconds = 0
    version: Count = 0


class _File(ContractModel):
    """What is on disk. `trial`: what is in force has not proved itself, and `before` comes back if it does not."""

    in_force: Dated = Dated()
    before: Dated | None = None
    reverted_at: Milliseconds = 0

    @property
    def trial(self) -> bool:
        return self.before is not None


class Configuration:
    """The configuration of one machine. `settings` are its owner's; `monotonic`: seconds that never step."""

    def __init__(self, path: Path, settings: AgentSettings, *, monotonic: Callable[[], float]) -> None:
        self.revision = 0
        """Grows when something else is in force: the agent then measures so, and connects anew."""
        self._path = path
        self._owners = settings
        self._monotonic = monotonic
        self._file = self._read()
        self._until = monotonic() + TRIAL_SECONDS

    @property
    def settings(self) -> AgentSettings:
        """The settings in force."""
        wish = self._file.in_force.wish
        wished = {"interval_seconds": wish.interval_seconds, "labels": wish.labels}
        return self._owners.model_copy(update={name: value for name, value in wished.items() if value is not None})

    @property
    def collectors_off(self) -> frozenset[str]:
        """The names of the collectors that are switched off."""
        return frozenset(self._file.in_force.wish.collectors_off)

    @property
    def version(self) -> int:
        """That of what is in force, 0 for the owner's settings."""
        return self._file.in_force.version

    @property
    def proved_at(self) -> int:
        """When what is in force was ordered, if the agent has connected with it; what was before it, if not."""
        return (self._file.before or self._file.in_force).issued_at

    @property
    def reverted_at(self) -> int:
        """When the last wish that was given up was ordered; 0: none."""
        return self._file.reverted_at

    def take(self, wish: Wish, issued_at: int, version: int | None = None) -> str:
        """Take up a wish that was ordered at this time; why not, or nothing.

        One that is in force already gets its version, and changes nothing else.
        """
        current = self._file.in_force
        new = Dated(wish=wish, issued_at=issued_at, version=current.version if version is None else version)
        if issued_at == self.reverted_at:
            return "it was given up here, since the agent could not connect with it"
        if issued_at < current.issued_at or (issued_at == current.issued_at and wish != current.wish):
            return "one that was ordered later is in force here"
        if new == current:
            return ""
        if issued_at == current.issued_at:
            return self._write(self._file.model_copy(update={"in_force": new}))
        problem = self._write(_File(in_force=new, before=self._file.before or current, reverted_at=self.reverted_at))
        if not problem:
            log.info("another configuration is on trial")
            self._until = self._monotonic() + TRIAL_SECONDS
            self.revision += 1
        return problem

    def connected(self) -> None:
        """The agent has connected with what is in force."""
        if self._file.trial:
            log.info("the configuration has proved itself")
            self._settle(self._file.model_copy(update={"before": None}))

    def look(self) -> None:
        """Give a wish up that has not proved itself in time."""
        file = self._file
        if file.before is not None and self._monotonic() >= self._until:
            log.error("could not connect with the configuration on trial: the one before is in force again")
            self._settle(_File(in_force=file.before, reverted_at=file.in_force.issued_at))
            self.revision += 1

    def _settle(self, file: _File) -> None:
        """What cannot be written is so all the same; the next process tries again, as the trial begins once more."""
        if problem := self._write(file):
            log.warning("%s", problem)
            self._file = file

    def _write(self, file: _File) -> str:
        """What went wrong, or nothing."""
        try:
            files.replace(self._path, file.model_dump_json(indent=2) + "\n")
        except OSError as error:
            return f"cannot write {self._path}: {error.strerror}"
        self._file = file
        return ""

    def _read(self) -> _File:
        try:
            return _File.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _File()
        except (OSError, ValidationError) as error:
            log.error("cannot read %s, so what operators wished for is forgotten: %s", self._path, error)
            return _File()
