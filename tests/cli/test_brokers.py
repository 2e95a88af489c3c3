"""`dashfleet tls`, `up --listen` and `emqx`: output and exit codes."""

import ssl
import subprocess
import sys
from pathlib import Path

from brokers import RawClient, connect_packet
from command_line import dashfleet
from servers import free_port, listens, stop
from waiting import wait_until


def test_tls_says_where_everything_is_and_whom_it_is_for(tmp_path: Path) -> None:
    done = dashfleet("tls", "fleet.example.org", "--data", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "as fleet.example.org, localhost, 127.0.0.1, ::1:" in done.stdout
    assert f"{tmp_path}/tls/ca.pem. Copy it to every machine and set ca_file to its path" in done.stdout
    ssl.create_default_context(cafile=tmp_path / "tls" / "ca.pem")


def test_tls_overwrites_nothing_and_renews_when_told_to(tmp_path: Path) -> None:
    place = ["--directory", str(tmp_path / "here")]
    assert dashfleet("tls", *place).returncode == 0
    again = dashfleet("tls", *place)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == (
        f"dashfleet: {tmp_path}/here/ca.pem exists: renew the certificate with --renew, or choose another --directory\n"
    )
    before = (tmp_path / "here" / "ca.pem").read_bytes()
    assert dashfleet("tls", *place, "--renew").returncode == 0
    assert (tmp_path / "here" / "ca.pem").read_bytes() == before


def test_up_does_not_open_the_broker_without_a_certificate(tmp_path: Path) -> None:
    for listen, sentence in (
        ("0.0.0.0", "--listen needs a certificate: run dashfleet tls NAME first"),  # noqa: S104 - refused
        ("fleet.example.org", "--listen must be an IP address of this machine or 0.0.0.0"),
    ):
        done = dashfleet("up", "--data", str(tmp_path / "data"), "--listen", listen)
        assert done.returncode == 2
        assert done.stderr.startswith(f"dashfleet: {sentence}")
    assert not (tmp_path / "data").exists()


def test_up_with_listen_speaks_tls_only_and_its_own_parts_find_it(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    assert dashfleet("tls", "127.0.0.1", "--data", str(data)).returncode == 0
    ports = ["--broker-port", str(port), "--dashboard-port", str(free_port())]
    words = ["up", "--data", str(data), "--listen", "127.0.0.1", "--interval", "1", *ports]
    up = subprocess.Popen([sys.executable, "-m", "dashfleet", *words], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port) or up.poll() is not None, seconds=60, what="the broker listens")
        with RawClient(port) as plain:
            plain.send(connect_packet("home.attic"))
            assert plain.is_gone()
        wait_until(lambda: '"presence": "online"' in machines(data), seconds=60, what="this machine is online")
    finally:
        stop(up, seconds=40)


def machines(data: Path) -> str:
    return dashfleet("machines", "--json", "--data", str(data)).stdout


def test_emqx_is_for_postgresql_only(tmp_path: Path) -> None:
    done = dashfleet("emqx", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "EMQX requires the fleet database to be PostgreSQL" in done.stderr
    printed = dashfleet("emqx", "--database", "postgresql+psycopg://emqx@db:6432/fleet").stdout
    assert 'server = "db:6432"' in printed
    assert 'database = "fleet"' in printed
