"""The contract of collectors. A collector is a class in a file of its own below `agent/collectors/`.

Another distribution provides one through an entry point of the group `dashfleet.collectors`. There are two kinds:

- A `Collector` reads with every sample. A reading with the name of a vital of the contract becomes that vital; any
  other becomes an extra metric.
- A `DetailCollector` reads devices (mounts, interfaces, containers) every minute, beside the samples: its readings
  become series of the next sample, its lists become facts. It is active while `present` returns True.

`agent.collection` runs both, validates what they return, and contains what they do wrong.
"""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import ClassVar, NamedTuple, TypeVar

from pydantic import TypeAdapter

from runtime import plugins
from runtime.settings.agent import AgentSettings
from schemas.contract.facts import FactValue, Judgement
from schemas.contract.messages import DEVICES_MAX, Metric

ENTRY_POINTS = "dashfleet.collectors"

Readings = Mapping[str, float | int | None]

log = logging.getLogger(__name__)


class Collector(ABC):
    """Reads one group of metrics. Created once per agent; `collect` is called once per sample, never concurrently."""

    metrics: ClassVar[tuple[Metric, ...]]

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings

    @abstractmethod
    def collect(self) -> Readings:
        """Return the current readings by metric name, None for unreadable ones. May raise; must not write anything."""


class Item(NamedTuple):
    """An item of a list of facts. See `schemas.contract.facts.Fact`."""

    fields: Mapping[str, FactValue]
    health: Judgement | None = None


@dataclass(slots=True)
class Details:
    """Result of a detail collector.

    `series` are readings by metric and device, `facts` are lists by kind, with their items by key. `truncated` is the
    number of devices that were left out. The first devices and items are kept if there are too many: the worst first.
    """

    series: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    facts: dict[str, dict[str, Item]] = field(default_factory=dict)
    truncated: int = 0

    def add(self, device: str, **readings: float | int | None) -> None:
        """Add the readings of a device, by metric. A metric that does not apply to it is left out, not None."""
        for metric, reading in readings.items():
            self.series.setdefault(metric, {})[device] = reading


class DetailCollector(ABC):
    """Reads one kind of devices. Created once per agent; called in a thread of its round, never concurrently.

    `settings` are those in force: an operator may have changed them since.

    `metrics` are those of its series, `facts` the kinds of facts that it states. `interval_seconds` is the time between
    two readings, at least that of the rounds (`detail_interval_seconds`); `first_after_seconds` the time after the
    agent's start before the first one, for a collector that costs much: an update starts an agent twice.
    `timeout_seconds` is its time limit; `devices_max` bounds the devices of each of its metrics. `needs` and `cost`
    describe it in docs/collectors.md.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()
    facts: ClassVar[tuple[str, ...]] = ()
    interval_seconds: ClassVar[float] = 0.0
    first_after_seconds: ClassVar[float] = 0.0
    timeout_seconds: ClassVar[float] = 5.0
    devices_max: ClassVar[int] = DEVICES_MAX
    needs: ClassVar[str] = "Linux"
    cost: ClassVar[str] = "below 1 ms"

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings

    @abstractmethod
    def present(self) -> bool:
        """Return True if there is something to read here. Called before each `collect`, so it must be cheap."""

    @abstractmethod
    def collect(self) -> Details:
        """Return what is there now. May raise; must not write anything."""


_BASES = (Collector, DetailCollector)
_Kind = TypeVar("_Kind", bound=Collector | DetailCollector)


def discover(package: ModuleType, settings: AgentSettings) -> list[Collector]:
    """Return one instance of every collector of samples in a package and in the entry points of ENTRY_POINTS.

    A collector that cannot be loaded or started is logged and skipped.
    """
    return _instances(package, settings, Collector)  # type: ignore[type-abstract]


def discover_details(package: ModuleType, settings: AgentSettings) -> list[DetailCollector]:
    """Return one instance of every detail collector there. See `discover`."""
    return _instances(package, settings, DetailCollector)  # type: ignore[type-abstract]


def _instances(package: ModuleType, settings: AgentSettings, base: type[_Kind]) -> list[_Kind]:
    kinds = plugins.discover(
        package,
        ENTRY_POINTS,
        accepts=lambda value: inspect.isclass(value) and issubclass(value, _BASES) and value not in _BASES,
        name=lambda kind: kind.__name__.lower(),
        source=lambda kind: kind,
    )
    chosen = [kind for kind in kinds.values() if issubclass(kind, base)]
    return [collector for kind in chosen if (collector := _started(kind, settings)) is not None]


def _started(kind: type[_Kind], settings: AgentSettings) -> _Kind | None:
    try:
        _METRICS.validate_python(kind.metrics)
        return kind(settings)
    except Exception:  # one of the named places: a plug-in may raise anything
        log.exception("cannot start the collector %s", kind.__name__)
        return None


def name_of(collector: Collector | DetailCollector | None) -> str:
    """Return the name of a collector in `info`, in the settings and in the log: its class in lower case."""
    return type(collector).__name__.lower()


_METRICS: TypeAdapter[tuple[Metric, ...]] = TypeAdapter(tuple[Metric, ...])
