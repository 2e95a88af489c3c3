"""Attempts of probes: what counts as reachable, and targets that answer with malice."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from servers import free_port
from waiting import wait_until

from agent.probes import http, icmp
from agent.probes.outcome import ProbeOutcome
from agent.probes.running import RunningProbe, attempt
from broker.tls import certificates
from runtime.settings.probe import Probe, RequestedProbe
from runtime.settings.probe_target import parse_pattern

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve connections, one after the other, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with suppress(OSError), connection:
                    if context is None:
                        serve(connection)
                    else:
                        with context.wrap_socket(connection, server_side=True) as wrapped:
                            serve(wrapped)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def answering(answer: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return serve


def probe(target: str, **options: Any) -> ProbeOutcome:  # noqa: ANN401
    return attempt(Probe(target=target, **{"timeout_seconds": 20, **options}), lambda _address: True)


def text_answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_tcp_is_reachable_where_something_listens_and_only_there() -> None:
    with serving(lambda _connection: None) as port:
        found = probe(f"tcp://127.0.0.1:{port}")
        assert (found.reachable, found.text) == (True, "connected")
        assert found.seconds is not None
        assert probe(f"tcp://localhost:{port}").reachable
    assert probe(f"tcp://127.0.0.1:{free_port()}").text == "connection refused"
    assert probe("tcp://name.invalid:80").text.startswith("the name cannot be resolved")


def test_http_is_judged_by_its_status_and_its_body() -> None:
    with serving(answering(text_answer(b"all is well"))) as port:
        assert probe(f"http://127.0.0.1:{port}/health", contains="is well").reachable
        wanted = probe(f"http://127.0.0.1:{port}/health", contains="ready")
        assert (wanted.reachable, wanted.text) == (False, "status 200, without the expected text")
        assert probe(f"http://127.0.0.1:{port}", status=(204,)).text == "status 200"
    with serving(answering(text_answer(b"", "503 Busy"))) as port:
        assert probe(f"http://127.0.0.1:{port}").reachable is False
        assert probe(f"http://127.0.0.1:{port}", status=(503,)).reachable
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"
    with serving(answering(chunked)) as port:
        assert probe(f"http://127.0.0.1:{port}", contains="ready").reachable


def test_a_redirect_is_an_answer_and_never_followed() -> None:
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/secret\r\n\r\n")

    with serving(serve) as port:
        found = probe(f"http://127.0.0.1:{port}")
    assert (found.reachable, found.text, len(requests)) == (True, "status 302", 1)
    assert b"Host: 127.0.0.1:" in requests[0]


def endless_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 4096)


def endless_header(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n" * 500)


def endless_continue(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def slow_loris(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.05)


def silent(connection: socket.socket) -> None:
    connection.settimeout(30)
    while connection.recv(4096):
        pass


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff" * 600 + b"\r\n\r\n")


@pytest.mark.parametrize("serve", [endless_body, endless_header, endless_continue, slow_loris, silent, garbage])
def test_no_answer_takes_more_than_the_time_and_the_bytes_of_a_probe(serve: Serve) -> None:
    with serving(serve) as port:
        began = time.monotonic()
        found = probe(f"http://127.0.0.1:{port}", contains="y", timeout_seconds=0.4)
    assert found.reachable is False
    assert time.monotonic() - began < 15  # the limit is 0.4 s; a busy machine is slow, an endless answer never ends


def test_an_endless_body_is_read_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_MAX", 10_000)
    sent = 0

    def serve(connection: socket.socket) -> None:
        nonlocal sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += connection.send(b"x" * 1000)

    with serving(serve) as port:
        assert probe(f"http://127.0.0.1:{port}", contains="y").text == "status 200, without the expected text"
    assert sent < 10_000_000  # buffers of the system, not the 20 s of the probe


def test_a_certificate_is_verified_and_its_end_is_known(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = certificates.new_authority(now)
    pair = certificates.new_server(authority, ["localhost"], now, days=7)
    for name, made in (("ca", authority), ("server", pair)):
        certificates._write(made, tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with serving(answering(text_answer(b"")), context) as port:
        found = probe(f"https://localhost:{port}/", ca_file=tmp_path / "ca.pem")
        assert (found.reachable, found.text) == (True, "status 200")
        assert found.certificate_days == pytest.approx(7, abs=0.1)
        assert probe(f"https://localhost:{port}/").text.startswith("the certificate cannot be verified")
        assert "verified" in probe(f"https://127.0.0.1:{port}/", ca_file=tmp_path / "ca.pem").text
        secure = probe(f"tls://localhost:{port}", ca_file=tmp_path / "ca.pem")
        assert (secure.text, round(secure.certificate_days or 0)) == ("connected", 7)
        states = [
            RunningProbe(Probe(target=f"tls://localhost:{port}", ca_file=tmp_path / "ca.pem", **days), None)().health
            for days in (
                {},
                {"certificate_critical_days": 3},
                {"certificate_critical_days": 3, "certificate_warning_days": 5},
            )
        ]
        assert states == ["critical", "fair", "good"]
    with serving(silent) as port:
        found = probe(f"https://localhost:{port}/", timeout_seconds=0.3)
        assert (found.reachable, found.text) == (False, "no answer within 0.3 s")
    with serving(garbage) as port:
        assert "TLS failed" in probe(f"https://localhost:{port}/").text


def record(kind: int, data: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


@contextmanager
def name_server(answers: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                question, sender = server.recvfrom(4096)
                if not question:
                    return
                for answer in answers(question):
                    server.sendto(answer, sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.sendto(b"", server.getsockname())
        thread.join(30)


def reply(question: bytes, records: list[bytes], code: int = 0) -> bytes:
    header = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
    return header + question[12:] + b"".join(records)


def test_dns_asks_a_server_or_the_resolver_of_the_system() -> None:
    address = record(1, bytes((192, 0, 2, 7)))

    def answers(question: bytes) -> list[bytes]:
        forged = reply(b"\x00\x00" if question[:2] != b"\x00\x00" else b"\x01\x01", [record(1, b"\x01\x01\x01\x01")])
        return [b"", b"\xff" * 30, forged, reply(question, [record(5, b"\x03www\x00"), address])]

    with name_server(answers) as port:
        found = probe(f"dns://127.0.0.1:{port}/www.example.org")
        assert (found.reachable, found.text) == (True, "192.0.2.7")
        assert probe(f"dns://127.0.0.1:{port}/www.example.org", address=("192.0.2.7",)).reachable
        wrong = probe(f"dns://127.0.0.1:{port}/www.example.org", address=("192.0.2.8",))
        assert (wrong.reachable, wrong.text) == (False, "192.0.2.7, without 192.0.2.8")
    with name_server(lambda question: [reply(question, [], code=3)]) as port:
        assert probe(f"dns://127.0.0.1:{port}/none.example.org").text == "no such name"
    with name_server(lambda question: [reply(question, [b"\x3f" + b"x" * 20])]) as port:
        assert probe(f"dns://127.0.0.1:{port}/bad.example.org").text.startswith("the answer is invalid")
    with name_server(lambda _question: []) as port:
        assert probe(f"dns://127.0.0.1:{port}/mute.example.org", timeout_seconds=0.2).reachable is False
    assert probe("dns://localhost").reachable
    assert probe("dns://name.invalid").reachable is False


def test_icmp_is_answered_by_this_machine_or_unknown_where_it_is_not_permitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = probe("icmp://127.0.0.1")
    assert found.reachable in (True, None)  # None in a sandbox without both ways
    monkeypatch.setattr(icmp, "_open", lambda **_: None)
    unknown = RunningProbe(Probe(target="icmp://127.0.0.1"), None)()
    assert (unknown.health, unknown.reachable) == ("unknown", None)
    assert "not permitted" in unknown.outcome.text


def test_the_checksum_of_an_echo_request_is_that_of_the_standard() -> None:
    request = icmp._request(bytes(range(16)), 1, is_ipv6=False)
    total = sum(struct.unpack(f"!{len(request) // 2}H", request))
    assert (total >> 16) + (total & 0xFFFF) == 0xFFFF


def test_a_target_is_down_after_some_failures_in_a_row_and_up_at_once() -> None:
    run = RunningProbe(Probe(target=f"tcp://127.0.0.1:{free_port()}", failures=3), None)
    states = [run() for _ in range(4)]
    assert [state.health for state in states] == ["fair", "fair", "critical", "critical"]
    assert [state.reachable for state in states] == [None, None, False, False]
    with serving(lambda _connection: None) as port:
        again = RunningProbe(Probe(target=f"tcp://127.0.0.1:{port}"), None)
        again._failures = 5
        assert again()[1:] == ("good", True)


def test_a_name_of_an_operator_never_leads_to_this_machine_unless_the_owner_permits_its_address() -> None:
    with serving(lambda _connection: None) as port:
        requested = RequestedProbe(target=f"tcp://localhost:{port}")
        refused = RunningProbe(requested, [parse_pattern("tcp://*:*")])()
        assert (refused.health, refused.reachable) == ("unknown", None)
        assert refused.outcome.text.endswith("is not permitted by the owner of this machine")
        networks = [parse_pattern("tcp://127.0.0.0/8:*"), parse_pattern("tcp://[::1]:*")]
        assert RunningProbe(requested, [*networks, parse_pattern("tcp://local*:*")])().reachable
        assert RunningProbe(Probe(target=f"tcp://localhost:{port}"), None)().reachable


def test_probes_of_one_name_share_its_lookup_and_a_lookup_that_hangs_ends_with_the_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, may_end, look_up = list[str](), threading.Event(), socket.getaddrinfo

    def hanging(host: str, *given: Any, **named: Any) -> list[Any]:  # noqa: ANN401 - passed on
        if host != "slow.example.org":  # of a thread of another test
            return look_up(host, *given, **named)
        asked.append(host)
        may_end.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    for _ in range(3):
        assert probe("tcp://slow.example.org:1", timeout_seconds=0.05).text == "no answer within 0.05 s"
    assert asked == ["slow.example.org"]
    may_end.set()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))])
    wait_until(lambda: probe("dns://slow.example.org").text == "127.0.0.1", what="a new lookup", seconds=30)
