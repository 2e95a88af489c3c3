"""The inventory of the machine, `Info`, and when it is to be published again."""

from collections.abc import Callable
from typing import Any

from agent.collection.detail_runner import DetailRunner
from agent.collection.sample_runner import CollectorRunner
from agent.host.file_system import FULLEST
from agent.orders.executor import Executor
from agent.outbox.sample_queue import SampleQueue
from runtime.settings.agent import AgentSettings
from schemas.contract.live import LIVE_SECONDS
from schemas.contract.messages import EARLIER_STREAMS_MAX, METRICS_MAX, Info


class Announcement:
    """The inventory of one agent: what its parts say of themselves. `live`: whether it has live readings."""

    def __init__(
        self,
        describe: Callable[..., Info],
        runner: CollectorRunner,
        outbox: SampleQueue,
        *,
        details: DetailRunner | None,
        executor: Executor | None,
        live: bool,
    ) -> None:
        self._describe = describe
        self._runner = runner
        self._outbox = outbox
        self._details = details
        self._executor = executor
        self._live_interval_seconds = LIVE_SECONDS if live else None
        self._announced: object = None

    @property
    def is_due(self) -> bool:
        """Whether something has changed that `info` says."""
        return self._announced != self._changing()

    def encode(self, settings: AgentSettings, *, session: int, at: int) -> bytes:
        """Return the message, which is to be published now."""
        details: dict[str, Any] = {} if self._details is None else self._details.info_fields()
        orders: dict[str, Any] = {} if self._executor is None else self._executor.facts()
        info = self._describe(
            settings,
            session=session,
            stream=self._outbox.stream,
            at=at,
            metrics=(self._runner.metrics + (self._details.metrics if self._details else ()))[:METRICS_MAX],
            earlier_streams=self._outbox.earlier_streams(EARLIER_STREAMS_MAX),
            collectors=(self._runner.names + (self._details.names if self._details else ()))[:METRICS_MAX],
            collectors_off=tuple(sorted(self._runner.off))[:METRICS_MAX],
            live_interval_seconds=self._live_interval_seconds,
            **details,
            **orders,
        )
        self._announced = self._changing()
        return info.encode()

    def _changing(self) -> object:
        """Return what `info` says of changing things."""
        orders = self._executor and (self._executor.keys.ids, self._executor.configuration.version)
        # Of what was cut only the collectors' names: numbers of devices change all the time.
        return orders, FULLEST.path, self._details and (self._details.names, self._details.truncated.keys())
