"""Real servers as children of the test, on free ports, with configurations and data directories of their own."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def require_program(name: str, package: str) -> str:
    """The path of a program. When it is missing: fail in CI, skip elsewhere, with the line that installs it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        message = f"{name} is missing: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def stop(process: subprocess.Popen[bytes], *, seconds: float = 10.0) -> None:
    """End a child politely, then by force, and reap it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def mosquitto(directory: Path, *, port: int | None = None, lines: str = "allow_anonymous true") -> Iterator[int]:
    """A Mosquitto on loopback with these configuration lines; yields its port."""
    program = require_program("mosquitto", "mosquitto")
    port = port or free_port()
    configuration = directory / f"mosquitto-{port}.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\npersistence false\nuser root\n{lines}\n")
    with (directory / f"mosquitto-{port}.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, what="Mosquitto listening")
        assert process.poll() is None, "Mosquitto ended at once"
        yield port
    finally:
        stop(process)
