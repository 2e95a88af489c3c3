"""The configuration of an organisation, retained on `{org}/_config` for every reader of its topics."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.contract.messages import INTEGER_MAX, KEY_CHANGES_MAX, ContractModel, Payload, Signed


class Component(ContractModel):
    """A vital in the health score: its share, 0 to 1, and the percentage up to which it counts in full."""

    weight: Annotated[float, Field(ge=0, le=1)]
    knee_percent: Annotated[float, Field(ge=0, lt=100)]


class Thresholds(ContractModel):
    """The parameters of `schemas.fleet.health.health`. The weights sum to 1.

    A score of `ok_score` or more is ok, of `warn_score` or more warn, below critical. A component worth at most
    `component_warn` or `component_critical` (0 to 1) limits the status to warn or critical.
    """

    cpu: Component = Component(weight=0.35, knee_percent=50)
    memory: Component = Component(weight=0.35, knee_percent=60)
    disk: Component = Component(weight=0.30, knee_percent=70)
    ok_score: Annotated[int, Field(ge=0, le=100)] = 80
    warn_score: Annotated[int, Field(ge=0, le=100)] = 60
    component_warn: Annotated[float, Field(ge=0, le=1)] = 0.5
    component_critical: Annotated[float, Field(ge=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Self:
        if abs(self.cpu.weight + self.memory.weight + self.disk.weight - 1) > 1e-6:
            raise ValueError("the weights of cpu, memory and disk must sum to 1")
        return self


class OrgConfig(Payload):
    """Settings that every reader of an organisation needs, retained on `{org}/_config`.

    A machine is stale, then offline, when no live message came for max(`*_intervals` × its interval, `*_seconds`), and
    expired after `time_to_live_seconds`. An agent waits up to `reconnect_spread_seconds` before its first attempt to
    reconnect; the ingestor raises it with the number of machines. `key_changes` are the signed
    `schemas.contract.signing.KeyChange`s in order; they determine whose orders machines obey.
    A target of reachability probes is down while `unreachable_machines` of the machines that probe it cannot reach it,
    or all of them if they are fewer.
    """

    time_to_live_seconds: Annotated[int, Field(ge=60, le=INTEGER_MAX)] = 86_400
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 2.5
    stale_seconds: Annotated[float, Field(gt=0, le=86_400)] = 45.0
    offline_intervals: Annotated[float, Field(ge=1, le=1000)] = 6.0
    offline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 180.0
    reconnect_spread_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    unreachable_machines: Annotated[int, Field(ge=1, le=1000)] = 2
    thresholds: Thresholds = Thresholds()
    key_changes: Annotated[tuple[Signed, ...], Field(max_length=KEY_CHANGES_MAX, strict=False)] = ()
