"""How much of each fault: a short form for every run of the tests, the whole one when DASHFLEET_FAULTS=whole."""

import os
from dataclasses import dataclass

from schemas.fleet.history import Retention


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and times (seconds) of the faults."""

    kills: int
    """Of each part of each stack."""
    interval: float
    """Between two samples of a machine that is to be silenced."""
    stale: float
    """The organisation's `stale_seconds`, then its `offline_seconds`."""
    offline: float
    take_overs: int
    late_wills: int
    loss: float
    """How long one packet in five is lost."""
    flaps: int
    """How often the link goes down for `flap` seconds and comes up for as long."""
    flap: float
    black_hole: float
    cuts: int
    """Connections cut in the middle of a packet."""
    days_offline: float
    """At one sample in 10 s, of an injected clock."""
    backlog: int
    """Samples that wait when the machine comes back."""
    power_cuts: int
    history_breaks: int
    """Of the ingestor, in rolling up and in pruning, a multiple of 4."""
    backed_up: tuple[int, Retention]
    """Of how many machines, and how long, there is history in the store that is backed up."""
    written: float
    """How long the bytes written are counted, at `written_interval` seconds between samples."""
    written_interval: float
    clone_interval: float
    fuzzed: int
    """Payloads."""
    misuses: int
    """Examples of random misuse of one credential."""
    flood: float
    """How long one machine floods the server, in each way."""
    agents: int
    """That lose their broker together."""
    orders: int
    """That an agent is killed over."""
    ingestor_kills: int
    """Of each of two ingestors that share the work."""
    node_kills: int
    """Of nodes of a cluster of three, over which `clustered` agents are spread."""
    clustered: int
    moved: tuple[int, int]
    """Machines that move to another server, and samples that wait on each."""
    spill: float
    """How long a probe's samples may wait in memory, then how long it waits before it connects again at most at
    first, and before it sends a batch again, in seconds."""
    backoff: float
    resend: float


SHORT = Scale(
    kills=1,
    interval=0.5,
    stale=1.5,
    offline=3.5,
    take_overs=3,
    late_wills=4,
    loss=3.0,
    flaps=2,
    flap=1.0,
    black_hole=6.0,
    cuts=8,
    days_offline=0.25,
    backlog=8640,
    power_cuts=2,
    history_breaks=4,
    backed_up=(10, Retention(samples_seconds=3 * 3600, minutes_seconds=12 * 3600, hours_seconds=30 * 86_400)),
    written=3.0,
    written_interval=0.1,
    clone_interval=2.0,
    fuzzed=1500,
    misuses=8,
    flood=4.0,
    agents=20,
    orders=5,
    ingestor_kills=1,
    node_kills=1,
    clustered=12,
    moved=(6, 1500),
    spill=1.5,
    backoff=0.7,
    resend=1.0,
)
WHOLE = Scale(
    kills=100,
    interval=10.0,
    stale=45.0,
    offline=180.0,
    take_overs=100,
    late_wills=100,
    loss=300.0,
    flaps=60,
    flap=5.0,
    black_hole=3600.0,
    cuts=300,
    days_offline=7.0,
    backlog=8640,
    power_cuts=20,
    history_breaks=100,
    backed_up=(50, Retention()),
    written=600.0,
    written_interval=10.0,
    clone_interval=10.0,
    fuzzed=100_000,
    misuses=300,
    flood=60.0,
    agents=500,
    orders=200,
    ingestor_kills=30,
    node_kills=3,
    clustered=200,
    moved=(100, 2000),
    spill=3.0,
    backoff=2.0,
    resend=2.0,
)

SCALE = WHOLE if os.environ.get("DASHFLEET_FAULTS") == "whole" else SHORT
IS_WHOLE = SCALE is WHOLE


def brokers(short: str) -> list[str]:
    """Both brokers in the whole form, this one in the short."""
    return ["embedded", "mosquitto"] if IS_WHOLE else [short]
