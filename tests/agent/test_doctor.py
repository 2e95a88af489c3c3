"""The diagnosis: each check finds what it is for, and has an advice."""

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from brokers import embedded_broker
from certificates import certificates
from clocks import Clock
from servers import free_port

from agent.check import Examination, Finding
from agent.checks import certificate, clock, disk, dns, permissions, port, secret, service
from agent.doctor import examine, find_checks
from broker.access.policy import Principal, Role
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from runtime.settings.secret_files import write_secret


def examination(data: Path, server: str = "mqtt://127.0.0.1:1", **given: Any) -> Examination:  # noqa: ANN401
    settings = AgentSettings.model_validate({"data": data, "server": server, "machine": "attic", **given})
    return Examination(settings, SystemClock(), timeout=1.0)


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Accept connections, with TLS if there is a context, and close them."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    if context is None:
                        connection.close()
                    else:
                        context.wrap_socket(connection, server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def is_advised(finding: Finding, verdict: str = "problem") -> str:
    assert finding.verdict == verdict, finding
    assert finding.advice.endswith((".", "dashfleet")) or ":" in finding.advice
    return finding.detail


def test_all_checks_run_in_their_order_and_one_file_adds_one(tmp_path: Path) -> None:
    found = examine(examination(tmp_path))
    assert [each.check for each in found] == [
        "dns", "port", "certificate", "clock", "secret", "service", "permissions", "disk",
    ]  # fmt: skip
    assert len(list(find_checks())) == len(list((Path(dns.__file__).parent).glob("*.py"))) - 1


def test_a_name_that_cannot_be_resolved(tmp_path: Path) -> None:
    assert "does-not-exist.invalid" in is_advised(dns.dns(examination(tmp_path, "mqtts://does-not-exist.invalid")))
    assert dns.dns(examination(tmp_path)).verdict == "ok"


def test_a_port_at_which_nothing_listens(tmp_path: Path) -> None:
    assert "nothing listens" in is_advised(port.port(examination(tmp_path, f"mqtt://127.0.0.1:{free_port()}")))
    with listening() as open_port:
        assert port.port(examination(tmp_path, f"mqtt://127.0.0.1:{open_port}")).verdict == "ok"


def test_a_certificate_that_is_trusted_is_not_or_is_none(tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with listening(context) as open_port:
        url = f"mqtts://127.0.0.1:{open_port}"
        assert certificate.certificate(examination(tmp_path, url, ca_file=files.authority)).verdict == "ok"
        assert "cannot be verified" in is_advised(certificate.certificate(examination(tmp_path, url)))
    with listening() as open_port:
        is_advised(certificate.certificate(examination(tmp_path, f"mqtts://127.0.0.1:{open_port}")))
    assert certificate.certificate(examination(tmp_path)).verdict == "ok"  # loopback
    is_advised(certificate.certificate(examination(tmp_path, "mqtt://192.0.2.1")), "warning")


def test_a_clock_before_the_release(tmp_path: Path) -> None:
    wrong = Examination(examination(tmp_path).settings, Clock())
    assert "before the release" in is_advised(clock.clock(wrong))
    assert clock.clock(examination(tmp_path)).verdict in ("ok", "warning")


def test_a_secret_that_is_missing_or_not_accepted(tmp_path: Path) -> None:
    assert "no password" in is_advised(secret.secret(examination(tmp_path)))
    write_secret(tmp_path / "secrets" / "agent", "wrong")
    with embedded_broker({Principal(Role.MACHINE, "acme", "attic"): "right"}) as broker:
        given = {"org": "acme", "password_file": tmp_path / "secrets" / "agent"}
        url = f"mqtt://127.0.0.1:{broker.port}"
        assert "user name" in is_advised(secret.secret(examination(tmp_path, url, **given)))
        write_secret(tmp_path / "secrets" / "agent", "right")
        assert secret.secret(examination(tmp_path, url, **given)).verdict == "ok"


def test_an_agent_that_does_not_run_or_is_not_connected(tmp_path: Path) -> None:
    assert "does not run" in is_advised(service.service(examination(tmp_path)))
    (tmp_path / "agent").mkdir()
    state = {"pid": os.getpid(), "version": "1", "connected": False, "changed_at": 0, "acknowledged": False}
    for changes, verdict in (({}, "problem"), ({"connected": True}, "warning"), ({"acknowledged": True}, "ok")):
        state.update(changes)
        (tmp_path / "agent" / "connection.json").write_text(json.dumps(state))
        assert service.service(examination(tmp_path)).verdict == verdict
    state["pid"] = 2**22 + 1
    (tmp_path / "agent" / "connection.json").write_text(json.dumps(state))
    assert "does not run" in is_advised(service.service(examination(tmp_path)))


def test_a_secret_that_others_can_read_and_a_file_of_another_user(tmp_path: Path) -> None:
    write_secret(tmp_path / "secrets" / "agent", "x")
    assert permissions.permissions(examination(tmp_path)).verdict == "ok"
    (tmp_path / "secrets" / "agent").chmod(0o644)
    assert "can be read by others" in is_advised(permissions.permissions(examination(tmp_path)))
    (tmp_path / "secrets" / "agent").chmod(0o600)
    if os.geteuid() == 0:
        os.chown(tmp_path / "secrets" / "agent", 65_534, 65_534)
        assert "belongs to another user" in is_advised(permissions.permissions(examination(tmp_path)))


def test_a_disk_without_space_for_the_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.disk(examination(tmp_path, outbox_max_bytes=1 << 20)).verdict == "ok"
    assert "may grow" in is_advised(disk.disk(examination(tmp_path, outbox_max_bytes=1 << 60)), "warning")
    monkeypatch.setattr(disk, "TemporaryFile", lambda dir: (_ for _ in ()).throw(OSError(28, "No space left")))  # noqa: A006, ARG005
    assert "cannot be written" in is_advised(disk.disk(examination(tmp_path)))
