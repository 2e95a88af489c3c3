"""The contract of an alert rule: a function in a file of its own in `ingestor/alerts/rules/`, or in a plug-in.

Invariants:
- A rule is pure: it evaluates the facts that it is given. How long its result must last before an alert opens or closes
  is set by its decorator; the state of the alert is kept by `ingestor.alerts.engine`.
- A rule returns a sentence (the condition holds), an empty text (it does not), or None (not known: nothing changes).
- A rule that raises counts as not known, and affects no other rule.
"""

import logging
import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Final, get_args

from ingestor.domain.alert import Severity
from ingestor.domain.machine import Machine
from runtime import plugins
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import is_id

OVER_AFTER_SECONDS: Final = 60.0
TITLE_MAX: Final = 64
GROUP: Final = "dashfleet.rules"
"""Group of the entry points through which a distribution provides rules."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """Input of a rule. `mass_silence`: many machines of the organisation went quiet together, which is one incident."""

    machine: Machine
    config: OrgConfig
    mass_silence: bool = False


Condition = Callable[[Facts], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule. Raises ValueError for a name that is no id, a wrong title, severity or time.

    An alert opens when the condition has held for `after_seconds` without a break, and closes when it has not held for
    `over_after_seconds`.
    """

    name: str
    title: str
    severity: Severity
    condition: Condition
    after_seconds: float = 0.0
    over_after_seconds: float = OVER_AFTER_SECONDS

    def __post_init__(self) -> None:
        if not is_id(self.name):
            raise ValueError(f"the alert rule {self.name!r} has a name with other than a-z, 0-9 and inner hyphens")
        if not 1 <= len(self.title) <= TITLE_MAX:
            raise ValueError(f"the title of the alert rule {self.name} has not 1 to {TITLE_MAX} characters")
        if self.severity not in get_args(Severity):
            raise ValueError(f"the severity of the alert rule {self.name} is none of {', '.join(get_args(Severity))}")
        if min(self.after_seconds, self.over_after_seconds) < 0:
            raise ValueError(f"the alert rule {self.name} has a negative time")

    def evaluate(self, facts: Facts) -> str | None:
        """Return the condition's result; None if it raises or returns anything else."""
        try:
            result: object = self.condition(facts)
            if result is None or isinstance(result, str):
                return result
            raise TypeError(f"it returned {type(result).__name__} in place of a text")
        except Exception:  # one of the named places: a rule may raise anything
            log.warning("the alert rule %s failed", self.name, exc_info=True)
            return None


def rule(
    *, title: str, severity: Severity, after_seconds: float = 0.0, over_after_seconds: float = OVER_AFTER_SECONDS
) -> Callable[[Condition], Rule]:
    """Make a rule of a function. The rule's name is the function's, with `-` for `_`."""

    def made(condition: Condition) -> Rule:
        name = str(getattr(condition, "__name__", "")).replace("_", "-")
        return Rule(name, title, severity, condition, after_seconds, over_after_seconds)

    return made


def discover(package: ModuleType) -> tuple[Rule, ...]:
    """Return the rules of a package and of entry points (`runtime.plugins`), in the order of their names."""
    found = plugins.discover(
        package,
        GROUP,
        accepts=lambda value: isinstance(value, Rule),
        name=operator.attrgetter("name"),
        source=operator.attrgetter("condition"),
    )
    return tuple(found[name] for name in sorted(found))
