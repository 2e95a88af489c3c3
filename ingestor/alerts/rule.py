"""What an alert rule is: a function in a file of its own below `ingestor/rules/`.

Invariants:
- A rule is pure: it says what is wrong with a machine by what the ingestor knows of it, the present given to it. How
  long that must last, and be over, is its decorator's; whether it was said before is `ingestor.alerts.engine`'s.
- It answers in three ways: a sentence (so it is), an empty text (it is not), and None (nobody can tell, so nothing
  that was said changes).
- It may raise: that is as if it could not tell, and costs nobody else.
"""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Final, Literal

from ingestor.domain.machine import Machine
from schemas.contract.messages import OrgConfig

Severity = Literal["warning", "critical"]
OVER_AFTER_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule looks at. `together`: many machines of the organisation went quiet at once, which is one incident."""

    machine: Machine
    config: OrgConfig
    together: bool = False


Judge = Callable[[Facts], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. An alert begins when the rule has found something for `after_seconds` without a break, and ends when it
    has found nothing for `over_after_seconds`.
    """

    name: str
    title: str
    severity: Severity
    judge: Judge
    after_seconds: float = 0.0
    over_after_seconds: float = OVER_AFTER_SECONDS

    def look(self, facts: Facts) -> str | None:
        """What the rule says; None, too, when it fails."""
        try:
            return self.judge(facts)
        except Exception:  # one of the named places: a rule may raise anything
            log.warning("the alert rule %s failed", self.name, exc_info=True)
            return None


def rule(
    *, title: str, severity: Severity, after_seconds: float = 0.0, over_after_seconds: float = OVER_AFTER_SECONDS
) -> Callable[[Judge], Rule]:
    """Make a rule of a function, with the function's name, in which `_` becomes `-`."""

    def made(judge: Judge) -> Rule:
        name = str(getattr(judge, "__name__", "")).replace("_", "-")
        return Rule(name, title, severity, judge, after_seconds, over_after_seconds)

    return made


def discover(package: ModuleType) -> tuple[Rule, ...]:
    """Every rule in the files of a package, in the order of their names."""
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]
    found = {
        value for module in modules for _, value in inspect.getmembers(module, lambda value: isinstance(value, Rule))
    }
    return tuple(sorted(found, key=lambda rule: rule.name))
