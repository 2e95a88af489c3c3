"""Prometheus metrics and health check of an ingestor over HTTP, if the setting `metrics_listen` names an address.

Invariants:
- The ingestor's own thread counts, once per batch; a scrape only reads.
- Labels are bounded: reasons are those of REASONS or "other", and organisations are those of the fleet.
- `/healthz` reports the last committed heartbeat, as `dashfleet heartbeat` does.
"""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Histogram, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from runtime.clock import Clock
from runtime.errors import SettingsError
from runtime.settings.address import ListenAddress
from schemas.database.queries.heartbeat import Heartbeat, judge_heartbeats

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

REQUEST_SECONDS = 5.0
"""Time after which the connection of a silent client is closed."""

REASONS = (
    "error",
    "invalid",
    "not-json",
    "refused",
    "retained",
    "revoked",
    "too-large",
    "too-many-gaps",
    "too-many-kinds",
    "too-many-requests",
    "too-many-streams",
    "unknown-command",
    "unknown-machine",
    "unknown-organisation",
    "unknown-token",
    "unknown-topic",
    "wrong-version",
)
"""Reasons of dead letters."""

_COUNTED = {
    "received": "Messages that arrived",
    "stored": "Samples stored",
    "duplicate": "Samples that were duplicates of stored ones",
    "limited": "Messages dropped above the rate limit of their sender or its organisation",
    "flapping": "Presence transitions above the limit per machine and hour, stored as one row",
    "acks": "Acknowledgements handed to the connection to the broker",
    "database_failures": "Times that the database was unavailable",
}
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_PREFIX = "dashfleet_ingestor_"

log = logging.getLogger(__name__)


class Metrics(Collector):
    """The metrics of one ingestor. `counters` are read at each scrape."""

    def __init__(self, counters: Mapping[str, int]) -> None:
        self.registry = CollectorRegistry()
        self.connected = False
        """Whether the ingestor is connected to the broker."""
        self.batch_messages = 0
        """Number of messages in the last batch."""
        self._counters = counters
        self._beat_at: int | None = None
        self._machines: Counter[tuple[str, Presence]] = Counter()
        self._commit = Histogram(
            _PREFIX + "commit_seconds",
            "Time to store one batch in one transaction",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._lag = Histogram(
            _PREFIX + "live_lag_seconds",
            "From the oldest live sample of a batch to its commit, by the server's clock",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)

    def committed(self, seconds: float, *, live_since: int | None, now: int) -> None:
        """Record a commit; `live_since`: time of the batch's oldest live sample, in milliseconds like `now`."""
        self._commit.observe(seconds)
        if live_since is not None:
            self._lag.observe(max(0, now - live_since) / 1000)

    def beat(self, machines: Iterable[Machine], *, now: int) -> None:
        """Record a committed heartbeat, and the presence of the fleet."""
        self._machines = Counter((machine.org, machine.state.presence) for machine in machines)
        self._beat_at = now

    def trouble(self, *, now: int) -> str:
        """Return what is wrong with this ingestor, as a sentence; empty if it is healthy."""
        beats = [] if self._beat_at is None else [Heartbeat(self._beat_at, self.connected)]
        return judge_heartbeats(beats, now=now)

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics. Runs in the thread of a scrape."""
        counters = dict(self._counters)  # at once, under the interpreter's lock
        for name, text in _COUNTED.items():
            yield CounterMetricFamily(_PREFIX + name, text, value=counters.get(name, 0))
        rejected = CounterMetricFamily(
            _PREFIX + "rejected", "Messages rejected and stored as dead letters, by reason", labels=["reason"]
        )
        for reason, count in _by_reason(counters).items():
            rejected.add_metric([reason], count)
        yield rejected
        yield GaugeMetricFamily(
            _PREFIX + "batch_messages",
            "Messages in the last batch; batch_max while more wait",
            value=self.batch_messages,
        )
        yield GaugeMetricFamily(
            _PREFIX + "broker_connected", "1 while connected to the broker", value=int(self.connected)
        )
        yield self._machine_counts()

    def _machine_counts(self) -> Metric:
        found = self._machines
        family = GaugeMetricFamily(
            "dashfleet_machines", "Machines by organisation and presence", labels=["org", "presence"]
        )
        for org in sorted({org for org, _ in found}):
            for presence in Presence:
                family.add_metric([org, presence.value], found[org, presence])
        return family


def _by_reason(counters: Mapping[str, int]) -> Counter[str]:
    found = Counter(dict.fromkeys((*REASONS, "other"), 0))
    for name, count in counters.items():
        counter, _, reason = name.partition(".")
        if counter == "rejected":
            found[reason if reason in REASONS else "other"] += count
    return found


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
        log.debug(format, *arguments)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, _request: object, client_address: object) -> None:
        log.debug("a request of %s failed", client_address, exc_info=True)


@contextmanager
def serving(address: ListenAddress | None, metrics: Metrics, clock: Clock) -> Iterator[None]:
    """Serve /metrics and /healthz at the address in a thread; without an address, serve nothing.

    Raises SettingsError if the address cannot be used.
    """
    if address is None:
        yield
        return
    kind = type("_Server6", (_Server,), {"address_family": socket.AF_INET6}) if ":" in address.host else _Server
    try:
        server = kind((address.host, address.port), _Handler)
    except OSError as error:
        raise SettingsError(
            f"cannot listen at {address} for metrics ({error.strerror}): stop what uses it, or change metrics_listen"
        ) from None
    server.set_app(_application(metrics, clock))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _application(metrics: Metrics, clock: Clock) -> "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]":
    scrape = make_wsgi_app(metrics.registry)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET":
            status, text = "405 Method Not Allowed", "use GET"
        elif path == "/metrics":
            answered: Iterable[bytes] = scrape(environ, start_response)
            return answered
        elif path == "/healthz":
            trouble = metrics.trouble(now=clock.now())
            status, text = ("503 Service Unavailable", trouble) if trouble else ("200 OK", "ok")
        else:
            status, text = "404 Not Found", "paths: /metrics, /healthz"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [f"{text}\n".encode()]

    return answer
