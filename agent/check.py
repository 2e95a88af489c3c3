"""Contract of a check: a function in a file of `agent/checks/` that examines one subject.

It runs after those of smaller `order`, changes nothing, and waits no longer than the examination says.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from runtime.clock import Clock
from runtime.settings.agent import AgentSettings

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check. `advice`: what to do, empty if nothing."""

    check: str
    verdict: Verdict
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """An agent to examine. `timeout`: seconds to wait for each answer; `dashboard`: its URL, empty if not known."""

    settings: AgentSettings
    clock: Clock
    timeout: float = 5.0
    dashboard: str = ""

    def tls_context(self) -> ssl.SSLContext:
        """Return the context with which the agent connects."""
        return ssl.create_default_context(cafile=self.settings.ca_file)


CheckFunction = Callable[[Examination], Finding]
F = TypeVar("F", bound=CheckFunction)


def check(*, order: int) -> Callable[[F], F]:
    """Mark a function as a check."""

    def mark(function: F) -> F:
        function.order = order  # type: ignore[attr-defined]
        return function

    return mark
