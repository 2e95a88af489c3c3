"""Metrics and health over real HTTP, of an ingestor that takes real steps."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port, listens
from sqlalchemy import Engine
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import OperationalError

from broker.client.transport import Message
from ingestor.intake.message_handlers import UNEXPECTED
from ingestor.metrics import REASONS, Metrics, serving
from runtime.clock import SystemClock
from runtime.errors import SettingsError
from runtime.settings.address import ListenAddress
from runtime.settings.ingestor import IngestorSettings
from runtime.settings.loading import load
from schemas.contract import topics
from schemas.contract.ack import WRONG_VERSION

PREFIX = "dashfleet_ingestor_"


@pytest.fixture
def port(bench: Bench, clock: Clock) -> Iterator[int]:
    """Where the bench's ingestor answers."""
    port = free_port()
    with serving(ListenAddress(host="127.0.0.1", port=port), bench.ingestor.metrics, clock):
        yield port
    assert not listens(port)


def get(port: int, path: str, *, method: str = "GET") -> tuple[int, str]:
    request = Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def figures(port: int) -> dict[str, float]:
    """Every sample of a scrape, by its name and its labels' values."""
    status, text = get(port, "/metrics")
    assert status == 200
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_tells_what_the_ingestor_did(bench: Bench, speaker: Speaker, port: int) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    before = figures(port)
    bench.publish(speaker.telemetry(2), speaker.telemetry(2))
    bench.clock.advance(3.0)
    bench.publish(speaker.telemetry(3))
    bench.publish(Message(topics.STATUS.at(org="home", machine="attic"), b"{", 1))
    bench.step()
    assert figures(port)[PREFIX + "batch_messages"] == 4
    bench.step(3.0, steps=2)
    after = figures(port)

    def grew(name: str) -> float:
        return after[PREFIX + name] - before[PREFIX + name]

    assert (grew("received_total"), grew("stored_total"), grew("duplicate_total")) == (4, 2, 1)
    assert (grew("rejected_total not-json"), grew("rejected_total invalid"), grew("limited_total")) == (1, 0, 0)
    assert grew("acks_total") == 2, "one for the samples, one for the rejected message"
    assert grew("commit_seconds_count") >= 1
    assert (grew("live_lag_seconds_count"), grew("live_lag_seconds_sum")) == (1, 3.0)
    assert after[PREFIX + "broker_connected"] == 1
    assert (after["dashfleet_machines home online"], after["dashfleet_machines home unknown"]) == (1, 0)
    assert (after["dashfleet_machines office online"], after["dashfleet_machines office unknown"]) == (0, 1)


def test_samples_that_waited_are_no_lag(bench: Bench, speaker: Speaker, port: int) -> None:
    bench.publish(speaker.status(), speaker.backfill(1, 2, 3))
    bench.step()

    assert figures(port)[PREFIX + "stored_total"] == 3
    assert figures(port)[PREFIX + "live_lag_seconds_count"] == 0


def test_health_is_that_of_the_last_commit(bench: Bench, port: int) -> None:
    assert get(port, "/healthz") == (200, "ok\n")
    bench.clock.advance(10.5)
    assert get(port, "/healthz") == (503, "no heartbeat from any ingestor for 10 s\n")
    bench.step()
    assert get(port, "/healthz") == (200, "ok\n")


def test_health_ends_with_the_database_at_once(bench: Bench, fleet: Engine, port: int) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("made up", None, Exception("made up"))

    sqlalchemy_event.listen(fleet, "before_cursor_execute", fail)
    bench.step(3.0)
    sqlalchemy_event.remove(fleet, "before_cursor_execute", fail)

    assert get(port, "/healthz") == (503, "the ingestor is not connected to the broker\n")
    assert figures(port)[PREFIX + "database_failures_total"] == 1
    bench.step(3.0, steps=3)
    assert get(port, "/healthz") == (200, "ok\n")


def test_what_has_not_begun_is_not_well() -> None:
    assert Metrics({}).trouble(now=1) == "no ingestor has run yet"


def test_nothing_else_is_answered(port: int) -> None:
    assert get(port, "/")[0] == 404
    assert get(port, "/metrics/../healthz")[0] == 404
    assert get(port, "/healthz", method="POST")[0] == 405


def test_a_client_that_says_nothing_holds_up_nobody(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)):
        assert get(port, "/healthz") == (200, "ok\n")


def test_a_port_in_use_is_said_in_one_sentence(port: int) -> None:
    address = ListenAddress(host="127.0.0.1", port=port)
    with (
        pytest.raises(SettingsError, match=rf"^cannot listen at 127\.0\.0\.1:{port} for metrics \(Address already"),
        serving(address, Metrics({}), SystemClock()),
    ):
        pass


def test_every_reason_of_the_code_is_a_label_and_no_other() -> None:
    sources = {path.name: path.read_text() for path in (Path(__file__).parents[2] / "ingestor").rglob("*.py")}
    source = "".join(sources.values())
    raised = set(re.findall(r'RejectedError\("([a-z-]+)"', source))
    raised |= set(re.findall(r'DeadLetter\([^"\n]*"([a-z-]+)"', source))
    raised |= set(
        re.findall(r'(?:return|reason, detail =) "([a-z-]+)", ', sources["salvage.py"] + sources["message_handlers.py"])
    )
    raised |= {"not-json", "invalid", UNEXPECTED, WRONG_VERSION}  # two of them in one expression
    raised |= set(re.findall(r'_set_aside\(batch, message, "([a-z-]+)"', source))
    raised |= set(re.findall(r'\.reject\([^"\n]*"([a-z-]+)"', source))

    assert raised == set(REASONS)


def test_a_reason_that_is_not_known_is_another() -> None:
    metrics = Metrics({"rejected.made-up": 2, "rejected.also": 1})
    assert metrics.registry.get_sample_value(PREFIX + "rejected_total", {"reason": "other"}) == 3


def test_nothing_listens_unless_an_address_is_set(tmp_path: Path) -> None:
    assert load(IngestorSettings, tmp_path, {"database": "sqlite://"}).metrics_address is None


@pytest.mark.parametrize(
    ("given", "host", "shown"),
    [
        ("127.0.0.1:9300", "127.0.0.1", "127.0.0.1:9300"),
        ("9300", "127.0.0.1", "127.0.0.1:9300"),
        (":9300", "127.0.0.1", "127.0.0.1:9300"),
        ("[::1]:9300", "::1", "[::1]:9300"),
        ("0.0.0.0:9300", "0.0.0.0", "0.0.0.0:9300"),  # noqa: S104 - said so
    ],
)
def test_only_a_host_that_is_given_leaves_loopback(tmp_path: Path, given: str, host: str, shown: str) -> None:
    address = load(IngestorSettings, tmp_path, {"database": "sqlite://", "metrics_listen": given}).metrics_address
    assert address is not None
    assert (address.host, address.port, str(address)) == (host, 9300, shown)


@pytest.mark.parametrize(
    "given", ["", "here", "127.0.0.1", "127.0.0.1:", "::1:9300", "1.2.3.4:0", "a:1", "1:70000", "²"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingsError, match=r"metrics_listen .* must look like 127\.0\.0\.1:9300"):
        load(IngestorSettings, tmp_path, {"database": "sqlite://", "metrics_listen": given})
