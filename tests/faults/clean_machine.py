"""A clean Debian machine: a root of debootstrap with changes in memory, booted with systemd in a network of its own."""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from servers import require_program
from terminals import at_terminal
from waiting import wait_until

CACHE = Path("/var/cache/dashfleet-tests")
SERVER_ADDRESS = "10.214.0.1"
MACHINE_ADDRESS = "10.214.0.2"
MEMORY = "800M"
_PACKAGES = "systemd,systemd-sysv,python3,ca-certificates,curl,iproute2"
_LEFT_OUT = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log/journal", "/var/lib/systemd", "/var/log/wtmp")  # noqa: S108


def debian_root() -> Path:
    """Return the root of a clean Debian with systemd and Python, made once by debootstrap."""
    program = require_program("debootstrap", "debootstrap")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = CACHE / "bookworm"
        if not root.exists():
            shutil.rmtree(unfinished := CACHE / "bookworm.new", ignore_errors=True)
            argv = [program, "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(unfinished)]
            subprocess.run(argv, check=True, capture_output=True, timeout=900)
            unfinished.rename(root)
    return root


class CleanMachine:
    """A machine that runs. `run` executes a command in it; `files` lists its files."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def argv(self, *words: str) -> list[str]:
        """Return the argv of a command in the machine."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", "--target", str(self._leader), "--all", "env", "-i", "HOME=/root", path, *words]

    def run(self, *words: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal."""
        return subprocess.run(
            self.argv(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )

    def at_a_terminal(self, *words: str, typing: Sequence[str], seconds: float = 120.0) -> tuple[int, str]:
        """Run a command on a terminal and type a line at each prompt; return its exit code and its output."""
        return at_terminal(self.argv(*words), typing=typing, seconds=seconds)

    def files(self, *, details: bool = False) -> set[str]:
        """Return all files, without what a running system itself writes; with `details`, also size, owner and time."""
        line = "%p %y %s %m %u %T@\n" if details else "%p\n"
        listed = self.run("find", "/", "-xdev", "-printf", line).stdout.splitlines()
        return {line for line in listed if not line.startswith(_LEFT_OUT)}


@contextmanager
def clean_machine(directory: Path, name: str) -> Iterator[CleanMachine]:
    """Boot a clean machine, which reaches the host at SERVER_ADDRESS and nothing else. `directory`: for its files."""
    nspawn = require_program("systemd-nspawn", "systemd-container")
    base, namespace = debian_root(), f"df{os.getpid()}c"
    memory, root = directory / "memory", directory / "root"
    for place in (memory, root):
        place.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={MEMORY}", "tmpfs", str(memory))
    (memory / "changes").mkdir()
    (memory / "work").mkdir()
    options = f"lowerdir={base},upperdir={memory / 'changes'},workdir={memory / 'work'}"
    _run("mount", "-t", "overlay", "-o", options, "overlay", str(root))
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{SERVER_ADDRESS} fleet.example.org\n")
    (root / "etc/hostname").write_text(f"{name}\n")
    _lay_wire(namespace)
    argv = [nspawn, "--register=no", "--keep-unit", f"--machine={name}", f"--directory={root}", "--boot", "--quiet"]
    argv += [f"--network-namespace-path=/run/netns/{namespace}", "--resolv-conf=off", "--timezone=off"]
    with (directory / "boot.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            leader = wait_until(lambda: _leader(process.pid), seconds=20, what="an init")
            assert leader is not None
            machine = CleanMachine(root, leader)
            wait_until(
                lambda: machine.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"),
                seconds=60,
                what="a machine that has started",
            )
            yield machine
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
            _run("umount", str(root))
            _run("umount", str(memory))
            _run("ip", "netns", "del", namespace)


def _leader(nspawn: int) -> int | None:
    """Return the first process of the machine."""
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
    for child in children:
        with suppress(OSError):
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith((b"/usr/lib/systemd/systemd", b"/sbin/init")):
                return int(child)
    return None


def _lay_wire(namespace: str) -> None:
    _run("ip", "netns", "add", namespace)
    _run("ip", "-n", namespace, "link", "set", "lo", "up")
    here = f"{namespace}h"
    _run("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _run("ip", "address", "add", f"{SERVER_ADDRESS}/24", "dev", here)
    _run("ip", "link", "set", here, "up")
    _run("ip", "-n", namespace, "address", "add", f"{MACHINE_ADDRESS}/24", "dev", "eth0")
    _run("ip", "-n", namespace, "link", "set", "eth0", "up")


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
