"""`dashfleet tls` as a person meets it."""

import os
import ssl
import subprocess
import sys
from pathlib import Path


def dashfleet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dashfleet", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment},
    )


def test_tls_says_where_everything_is_and_whom_it_is_for(tmp_path: Path) -> None:
    done = dashfleet("tls", "fleet.example.org", "--data", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "as fleet.example.org, localhost, 127.0.0.1, ::1:" in done.stdout
    assert f"{tmp_path}/tls/ca.pem: copy it there, and name it in ca_file" in done.stdout
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
