"""The server of a fleet as an owner sets it up: `dashfleet up` with TLS, and the dashboard behind nginx with TLS."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.clean_machine import SERVER_ADDRESS
from servers import free_port, require_program, stop
from waiting import wait_until

NAME = "fleet.example.org"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - the machines are in another network namespace
_NGINX = """daemon off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen {address}:443 ssl;
        ssl_certificate {data}/tls/server.pem;
        ssl_certificate_key {data}/tls/server.key;
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@dataclass
class InstallServer:
    """A running server. Machines reach its broker and its dashboard at NAME."""

    data: Path

    def dashfleet(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "dashfleet", *words, "--data", str(self.data)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)

    def token(self, *options: str) -> tuple[str, str]:
        """Return a new token and the command to run on a machine."""
        done = self.dashfleet("token", "create", *options)
        command = re.search(r"^ +(curl .*)$", done.stderr, flags=re.MULTILINE)
        assert command is not None, done.stderr
        return done.stdout.strip(), command[1]

    def machine(self, name: str) -> dict[str, Any] | None:
        found = json.loads(self.dashfleet("machines", "--json").stdout)
        return next((each for each in found if each["machine"] == name), None)


@contextmanager
def install_server(directory: Path) -> Iterator[InstallServer]:
    """Run a server. The address of the machines' network must exist."""
    server, port = InstallServer(directory / "state"), free_port()
    server.data.mkdir(mode=0o700)
    (server.data / "dashfleet.toml").write_text(
        f'[dashboard]\nhosts = ["{NAME}"]\nproxies = ["127.0.0.1"]\nmachines_server = "mqtts://{NAME}:8883"\n'
        f'url_for_machines = "https://{NAME}"\n'
    )
    (server.data / "dashfleet.toml").chmod(0o600)
    done = server.dashfleet("tls", NAME, SERVER_ADDRESS)
    assert done.returncode == 0, done.stderr
    argv = [sys.executable, "-m", "dashfleet", "up", "--data", str(server.data), "--listen", EVERYWHERE, "--no-agent"]
    argv += ["--dashboard-port", str(port), "--interval", "1"]
    log = directory / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        wait_until(lambda: "Open http" in log.read_text(), seconds=90, what=f"a server that has started, see {log}")
        with _nginx(directory, server.data, port):
            yield server
    finally:
        stop(process, seconds=30)


@contextmanager
def _nginx(directory: Path, data: Path, port: int) -> Iterator[None]:
    program = require_program("nginx", "nginx-light")
    text = _NGINX.format(directory=directory, data=data, address=SERVER_ADDRESS, port=port)
    (directory / "nginx.conf").write_text(text)
    process = subprocess.Popen([program, "-c", str(directory / "nginx.conf")])
    try:
        yield
    finally:
        stop(process)
