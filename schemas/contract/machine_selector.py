"""Selectors of machines: by labels, operating system, version of the agent, or by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from pydantic import Field

from schemas.contract.messages import ContractModel, Identifier, Labels
from schemas.contract.text import Text

SELECTOR_LABELS_MAX = 8
SELECTOR_VALUES_MAX = 64

_Names = Annotated[tuple[Text, ...], Field(max_length=SELECTOR_VALUES_MAX, strict=False)]


class MachineTraits(Protocol):
    """Statements of a machine about itself that selectors use. Empty: not stated."""

    @property
    def os(self) -> str:
        """Operating system."""

    @property
    def agent_version(self) -> str:
        """Version of the agent."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels."""


@dataclass(frozen=True, slots=True)
class StoredTraits:
    """Traits as the database has them."""

    os: str = ""
    agent_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class MachineSelector(ContractModel):
    """Conditions that must all be met; an empty selector selects every machine of its organisation.

    `labels` must all be present with these values. `systems`, `versions` and `machines` are alternatives: one of each
    list that is not empty must be equal.
    """

    labels: Annotated[Labels, Field(max_length=SELECTOR_LABELS_MAX)] = Field(default_factory=dict)
    systems: _Names = ()
    versions: _Names = ()
    machines: Annotated[tuple[Identifier, ...], Field(max_length=SELECTOR_VALUES_MAX, strict=False)] = ()

    def selects(self, machine: str, traits: MachineTraits) -> bool:
        """Return whether a machine, by its id and traits, meets all conditions."""
        return (
            (not self.machines or machine in self.machines)
            and (not self.systems or traits.os in self.systems)
            and (not self.versions or traits.agent_version in self.versions)
            and all(traits.labels.get(key) == value for key, value in self.labels.items())
        )

    @property
    def specificity(self) -> tuple[bool, int, bool, bool]:
        """Rank of the selector, to be compared: named machines, then the number of labels, version, system."""
        return bool(self.machines), len(self.labels), bool(self.versions), bool(self.systems)

    def described(self) -> str:
        """Return the conditions as text, `role=db, Debian`; an empty text for every machine."""
        labels = [f"{key}={value}" for key, value in sorted(self.labels.items())]
        lists = (self.systems, self.versions, self.machines)
        return ", ".join([*labels, *(" | ".join(values) for values in lists if values)])
