"""The command from the dashboard on a clean Debian that reaches only the server: online, repeated, failed, removed.

The machine boots with systemd in a network of its own (`faults.clean_machine`). It needs root, debootstrap and, once, a
mirror of Debian; tests/agent/installation has the short form.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.clean_machine import SERVER_ADDRESS, CleanMachine, clean_machine, debian_root
from faults.install_server import NAME, InstallServer, install_server
from faults.network import require_root
from faults.scale import IS_WHOLE
from servers import stop
from waiting import wait_until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ONLINE_SECONDS = 60.0
AUTHORITY = "/root/ca.pem"
INDEX_PORT = 8899
EXPOSURE_MAX = 2.0

pytestmark = pytest.mark.skipif(not IS_WHOLE, reason="only in the whole form, DASHFLEET_FAULTS=whole")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dependencies as a package index has them."""
    directory = tmp_path_factory.mktemp("bundle")
    argv = [sys.executable, "-m", "dashfleet", "bundle", "--output", str(directory)]
    argv += ["--platform", "linux-x86_64", "--python", "3.11"]
    subprocess.run(argv, check=True, capture_output=True, timeout=300)
    return directory


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[CleanMachine]:
    require_root()
    (tmp_path / "machine").mkdir()
    with clean_machine(tmp_path / "machine", "attic") as running:
        yield running


@pytest.fixture
def server(machine: CleanMachine, tmp_path: Path) -> Iterator[InstallServer]:
    (tmp_path / "server").mkdir()
    with install_server(tmp_path / "server") as running:
        (machine.root / AUTHORITY[1:]).write_text((running.data / "tls" / "ca.pem").read_text())
        yield running


def provide_wheels(server: InstallServer, wheels: Path) -> None:
    shutil.copytree(wheels, server.data / "bundle", dirs_exist_ok=True)


def has_expired(server: InstallServer, token: str) -> bool:
    known = json.loads(server.dashfleet("token", "list", "--json").stdout)
    return any(each["expires"] < time.time() * 1000 for each in known if each["token"].replace("._", ".") in token)


def run(machine: CleanMachine, line: str, *typing: str, **variables: str) -> tuple[int, str]:
    """Run the line as root, on a terminal."""
    given = [f"{name}={value}" for name, value in {"SSL_CERT_FILE": AUTHORITY, **variables}.items()]
    return machine.at_a_terminal("env", *given, "sh", "-c", line.replace("sudo ", ""), typing=typing)


def refusal(machine: CleanMachine, line: str, *typing: str, **variables: str) -> str:
    """Run the line, which fails with one sentence and leaves nothing behind."""
    before = machine.files()
    code, shown = run(machine, line, *typing, **variables)
    assert code == 2, shown
    (sentence,) = [each for each in shown.splitlines() if each.startswith("dashfleet: ")]
    assert "Traceback" not in shown
    left = machine.files() - before
    assert not {
        name for name in left if not re.fullmatch(r"/etc/(passwd|group|g?shadow|sub[ug]id)-?|/etc/.pwd.lock", name)
    }
    assert machine.run("id", "dashfleet").returncode != 0
    return sentence


@contextmanager
def index(wheels: Path, directory: Path) -> Iterator[str]:
    """Serve wheels as a package index."""
    for wheel in wheels.glob("*/*.whl"):
        name = re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
        (directory / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, directory / name)
    argv = [
        sys.executable,
        "-m",
        "http.server",
        str(INDEX_PORT),
        "--bind",
        SERVER_ADDRESS,
        "--directory",
        str(directory),
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://{SERVER_ADDRESS}:{INDEX_PORT}"
    finally:
        stop(process)


def test_without_an_index_the_machine_is_online_and_a_second_run_changes_nothing_and_removal_leaves_nothing(
    machine: CleanMachine, server: InstallServer, wheels: Path
) -> None:
    provide_wheels(server, wheels)
    token, line = server.token()
    before, started_at = machine.files(), time.monotonic()
    code, shown = run(machine, line, token)
    assert code == 0, shown
    assert time.monotonic() - started_at < ONLINE_SECONDS
    assert "home/attic is online" in shown
    assert "https://fleet.example.org/machine?id=attic" in shown
    assert token not in shown
    known = server.machine("attic")
    assert known is not None
    assert (known["presence"], known["ledger"]["stored"] > 0) == ("online", True)
    assert machine.run("dashfleet", "agent", "doctor").returncode == 0
    installed = machine.files(details=True)
    since = machine.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "dashfleet-agent").stdout
    assert run(machine, line)[0] == 0
    assert {each for each in machine.files(details=True) ^ installed if "/var/lib/dashfleet/" not in each} == set()
    assert (
        machine.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "dashfleet-agent").stdout == since
    )
    assert "dashfleet" in machine.run("ps", "-eo", "user").stdout + machine.run("id", "dashfleet").stdout
    code, shown = run(machine, line.partition(" -s -- ")[0] + " -s -- --uninstall")
    assert code == 0, shown
    assert machine.files() - before <= {
        "/etc/.pwd.lock",
        *(f"/etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")),
    }
    assert before - machine.files() == set()


def test_with_an_index_the_machine_is_online_and_survives_a_restart_of_the_service(
    machine: CleanMachine, server: InstallServer, wheels: Path, tmp_path: Path
) -> None:
    token, line = server.token()
    with index(wheels, tmp_path / "index") as url:
        host = {"PIP_INDEX_URL": url, "PIP_TRUSTED_HOST": SERVER_ADDRESS}
        started_at = time.monotonic()
        code, shown = run(machine, line, token, **host)
    assert code == 0, shown
    assert time.monotonic() - started_at < ONLINE_SECONDS
    exposure = machine.run("systemd-analyze", "security", "--no-pager", "dashfleet-agent").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", exposure)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX
    assert machine.run("systemctl", "restart", "dashfleet-agent").returncode == 0
    assert run(machine, line)[0] == 0


def test_each_failure_is_one_sentence_and_leaves_nothing(
    machine: CleanMachine, server: InstallServer, wheels: Path
) -> None:
    token, line = server.token()
    assert "the package index gave" in refusal(machine, line, token, PIP_INDEX_URL=f"http://{SERVER_ADDRESS}:1/")
    provide_wheels(server, wheels)
    machine.run("mount", "-t", "tmpfs", "-o", "size=20M", "tmpfs", "/opt")
    assert "no space left" in refusal(machine, line, token)
    machine.run("umount", "/opt")
    wrong = re.sub(r"--ca-sha256 [0-9a-f]+", f"--ca-sha256 {'0' * 64}", line)
    assert "fingerprint" in refusal(machine, wrong, token)
    expired, _ = server.token("--expires", "1s")
    wait_until(lambda: has_expired(server, expired), what="a token that has expired")
    assert "expired" in refusal(machine, line, expired)
    machine.run("chmod", "000", "/usr/bin/python3.11")
    machine.run("mv", "/usr/bin/python3.11", "/usr/bin/python3.hidden")
    assert "Python 3.11 or newer" in refusal(machine, line)
    machine.run("mv", "/usr/bin/python3.hidden", "/usr/bin/python3.11")
    machine.run("chmod", "755", "/usr/bin/python3.11")
    machine.run("touch", "/usr/lib/python3.11/EXTERNALLY-MANAGED")  # PEP 668: the system's Python is not touched
    code, shown = run(machine, line, token)
    assert code == 0, shown


def test_the_debian_package_is_installed_enrolled_and_purged(
    machine: CleanMachine, server: InstallServer, tmp_path: Path
) -> None:
    argv = [sys.executable, str(ROOT / "deploy" / "debian" / "build.py"), str(tmp_path / "dist")]
    subprocess.run(argv, check=True, capture_output=True, timeout=300)
    before = machine.files()
    (package,) = (tmp_path / "dist").glob("*.deb")
    shutil.copy(package, machine.root / "root" / "agent.deb")
    done = machine.run("dpkg", "--install", "/root/agent.deb")
    assert done.returncode == 0, done.stderr
    token, _ = server.token()
    enrol = f"dashfleet agent enrol --data /var/lib/dashfleet --server mqtts://{NAME}:8883 --ca-file /tmp/ca.pem"
    machine.run("cp", AUTHORITY, "/tmp/ca.pem")  # noqa: S108 - on the machine
    machine.run("chmod", "644", "/tmp/ca.pem")  # noqa: S108 - on the machine
    code, shown = machine.at_a_terminal(
        "setpriv", "--reuid=dashfleet", "--regid=dashfleet", "--clear-groups", *enrol.split(), typing=[token]
    )
    assert code == 0, shown
    assert machine.run("systemctl", "start", "dashfleet-agent").returncode == 0
    wait_until(
        lambda: (server.machine("attic") or {}).get("presence") == "online", seconds=30, what="the machine online"
    )
    assert machine.run("dpkg", "--purge", "dashfleet-agent").returncode == 0
    left = {name for name in machine.files() - before if not name.startswith("/etc/") and "dpkg" not in name}
    assert left == {"/root/agent.deb"}
    assert machine.run("id", "dashfleet").returncode != 0


@pytest.mark.parametrize(
    "words",
    [
        ("ansible-lint", "--offline", "--strict", str(DEPLOY / "ansible")),
        ("kubernetes-validate", "--strict", *map(str, sorted((DEPLOY / "kubernetes").glob("*.yaml")))),
    ],
    ids=lambda words: words[0],
)
def test_the_linters_find_nothing_in_the_files_of_deploy(words: tuple[str, ...]) -> None:
    uvx = str(Path(sys.executable).with_name("uvx"))
    done = subprocess.run([uvx, "--quiet", *words], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cloud_init_accepts_the_user_data(tmp_path: Path) -> None:
    """In a root of its own: as a package of this host it would configure the host at its next start."""
    require_root()
    base, root = debian_root(), tmp_path / "root"
    script = f"""
    mount -t tmpfs tmpfs {tmp_path} && mkdir {tmp_path}/changes {tmp_path}/work {root} &&
    mount -t overlay -o lowerdir={base},upperdir={tmp_path}/changes,workdir={tmp_path}/work overlay {root} &&
    cp /etc/resolv.conf {root}/etc/ && cp -r /etc/apt/. {root}/etc/apt/ && cp -r /etc/ssl/. {root}/etc/ssl/ &&
    mount --rbind /proc {root}/proc && mount --rbind /dev {root}/dev &&
    cp {DEPLOY}/cloud-init/user-data.yml {root}/root/ &&
    chroot {root} apt-get update --quiet=2 &&
    DEBIAN_FRONTEND=noninteractive chroot {root} apt-get install --yes --quiet=2 --no-install-recommends cloud-init &&
    chroot {root} cloud-init schema --config-file /root/user-data.yml
    """
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout
