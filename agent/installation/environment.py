"""The agent's environment: a virtual environment of one version, beside those of others.

    PREFIX/environments/VERSION-HASH/    a complete one has the file `.complete`
    PREFIX/current                       a link to the one that the service runs

Standard library only: this runs before anything is installed, and for updates.

Invariants:
- An environment is used only if it is complete, its Python starts, and it belongs to this user or to root; any other is
  built anew.
- Building needs no pip of the system (PEP 668): that of Python's ensurepip is used, or the one of the bundle.
- Dependencies are installed with their hashes, from the bundle if it has them, else from the package index.
"""

import errno
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.service import CURRENT
from runtime import files
from runtime.bundle.manifest import BundleFile, Manifest
from runtime.bundle.python_pip import find_included_pip
from runtime.errors import UserError

ENVIRONMENTS = "environments"
_COMPLETE = ".complete"
_PIP_SECONDS = 900
_START_SECONDS = 60
_SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def program(environment: Path, name: str = "dashfleet") -> Path:
    """Return the path of a program in an environment."""
    return environment / _SCRIPTS / (f"{name}.exe" if os.name == "nt" else name)


def is_complete(environment: Path) -> bool:
    """Return True if an environment was built to its end and its Python still starts."""
    if not (environment / _COMPLETE).is_file() or not _is_trusted(environment):
        return False
    argv = [str(program(environment, "python")), "-I", "-c", "import dashfleet, psutil, nacl"]
    try:
        return subprocess.run(argv, capture_output=True, timeout=_START_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def build(environment: Path, manifest: Manifest, fetch: Callable[[BundleFile, Path], Path]) -> None:
    """Build an environment from a bundle, replacing an incomplete one. `fetch` gets a file into a directory.

    Raises UserError; then the environment does not exist.
    """
    try:
        shutil.rmtree(environment, ignore_errors=True)
        environment.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with TemporaryDirectory(dir=environment.parent, prefix=".files.") as scratch:
            directory = Path(scratch)
            for file in (manifest.agent, manifest.pip, manifest.requirements, *filter(_fits, manifest.wheels)):
                fetch(file, directory)
            venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(environment)
            _install(environment, manifest, directory)
        compile_modules(environment)
        (environment / _COMPLETE).write_text(f"{manifest.environment}\n")
        files.sync(environment / _COMPLETE)
    except BaseException as error:
        remove(environment)
        if isinstance(error, OSError):
            raise UserError(cannot_write(environment.parent, error)) from None
        raise


def compile_modules(environment: Path) -> None:
    """Write the byte code that the agent loads (`-OO`, which pip does not write): its user may not write there.

    Without it each start of the agent would compile all modules, which takes longer than the rest of the start.
    """
    packages = sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)})
    _run([str(program(environment, "python")), "-I", "-m", "compileall", "-q", "-q", "-o", "2", packages])


def current(prefix: Path) -> Path | None:
    """Return the environment that the service runs; None if there is none."""
    link = prefix / CURRENT
    return prefix / link.readlink() if link.is_symlink() else None


def remove(environment: Path) -> None:
    """Remove an environment, and the directories above it if nothing else is in them."""
    shutil.rmtree(environment, ignore_errors=True)
    for directory in (environment.parent, environment.parent.parent):
        with suppress(OSError):  # not empty: of another installation
            directory.rmdir()


def switch(prefix: Path, environment: Path) -> None:
    """Make an environment the one that the service runs, atomically. Raises OSError."""
    new = prefix / f".{CURRENT}.new"
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(environment, prefix))
    new.replace(prefix / CURRENT)
    files.sync(prefix)


def cannot_write(place: Path, error: OSError) -> str:
    """Return the sentence for a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no space left on the disk of {place}: the agent needs about 100 MB"
    return f"cannot write in {place}: {error.strerror or error}"


def _is_trusted(environment: Path) -> bool:
    """Return True if no other user than root could have made it: root runs what is in it, too."""
    return os.name == "nt" or environment.stat().st_uid in (0, os.geteuid())


def _install(environment: Path, manifest: Manifest, directory: Path) -> None:
    """Install the agent and its dependencies with the pip of the bundle."""
    python = str(program(environment, "python"))
    pip = [
        python,
        "-I",
        f"{find_included_pip() or directory / manifest.pip.name}/pip",
        "install",
        "--quiet",
        "--no-input",
    ]
    pip += ["--disable-pip-version-check", "--no-cache-dir", "--no-warn-script-location"]
    listed = ["--require-hashes", "--only-binary", ":all:", "--requirement"]
    listed.append(str(directory / manifest.requirements.name))
    done = None
    if any(map(_fits, manifest.wheels)):
        done = _run([*pip, "--no-index", "--find-links", str(directory), *listed])
    if done is None or (done.returncode and not _is_full(done)):
        done = _run([*pip, "--retries", "2", "--timeout", "10", *listed])
        if done.returncode and not _is_full(done):
            raise UserError(
                f"the dependencies of the agent cannot be installed: the bundle has none for {_platform()} (on the "
                f"server: dashfleet bundle --platform), and the package index gave: {_last(done)}"
            )
    if done.returncode == 0:
        done = _run([*pip, "--no-index", "--no-deps", str(directory / manifest.agent.name)])
    if done.returncode and _is_full(done):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode:
        raise UserError(f"the agent cannot be installed on {_platform()}: {_last(done)}")


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PIP_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"installing the dependencies took more than {_PIP_SECONDS} s: run the same command again"
        ) from None


def _is_full(done: subprocess.CompletedProcess[str]) -> bool:
    return "Errno 28" in done.stderr


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return (lines or done.stderr.strip().splitlines() or ["no reason was given"])[-1]


def _platform() -> str:
    return f"{sysconfig.get_platform()} and Python {sys.version_info.major}.{sys.version_info.minor}"


def _fits(file: BundleFile) -> bool:
    """Return True if a wheel of the bundle may be for this machine; pip decides."""
    *_, python, abi, tags = file.name.removesuffix(".whl").split("-")
    ours = f"cp{sys.version_info.major}{sys.version_info.minor}"
    if not (ours in python.split(".") or abi == "abi3" or python.startswith("py")):
        return False
    if tags == "any":
        return True
    system = {"linux": "linux", "darwin": "macosx", "win32": "win"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return system in tags and (machine in tags or "universal2" in tags)
