"""The effect of other health settings in words, for the confirmation. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from dashboard.i18n.language import _, ngettext
from schemas.fleet.health import HealthStatus

_ORDER: Final = (HealthStatus.CRITICAL, HealthStatus.WARN, HealthStatus.OK)


def effects(found: Mapping[tuple[HealthStatus, HealthStatus], int]) -> tuple[list[str], str]:
    """Return a sentence for each status that machines would get, the worst first, and the tone of all.

    `found`: number of machines per (status now, status with the other settings).
    """
    becoming: Counter[HealthStatus] = Counter()
    for (before, after), number in found.items():
        becoming[after] += number if before != after else 0
    sentences = [_sentence(status, becoming[status]) for status in _ORDER if becoming[status]]
    if not sentences:
        return [_("No machine would change its status now.")], "good"
    return sentences, "bad" if becoming[HealthStatus.CRITICAL] else "fair"


def _sentence(status: HealthStatus, machines: int) -> str:
    match status:
        case HealthStatus.CRITICAL:
            return ngettext("{n} machine would become critical.", "{n} machines would become critical.", machines)
        case HealthStatus.WARN:
            return ngettext("{n} machine would change to warning.", "{n} machines would change to warning.", machines)
    return ngettext("{n} machine would become OK.", "{n} machines would become OK.", machines)
