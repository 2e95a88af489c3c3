"""Files for a bundle that come from a package index: the dependencies for other platforms, pip, and uv.

Invariants:
- Only files whose hashes are in the pinned requirements get into a bundle.
- Nothing is built here: a platform without a wheel of a dependency is refused with its name.
"""

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from runtime.bundle.python_pip import find_included_pip
from runtime.errors import UserError

PLATFORMS = {
    "linux-x86_64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "linux-aarch64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "linux-armv7l": ("manylinux_2_31_armv7l", "manylinux_2_17_armv7l", "manylinux2014_armv7l"),
    "musl-x86_64": ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64"),
    "musl-aarch64": ("musllinux_1_2_aarch64", "musllinux_1_1_aarch64"),
    "musl-armv7l": ("musllinux_1_2_armv7l", "musllinux_1_1_armv7l"),
    "macos-x86_64": ("macosx_11_0_x86_64", "macosx_10_12_x86_64", "macosx_10_9_universal2"),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_11_0_universal2"),
    "windows-x86_64": ("win_amd64",),
}
"""Platform tags of wheels, by the names that `dashfleet bundle --platform` knows."""

PYTHONS = ("3.11", "3.12", "3.13")
_UV = {
    "linux-x86_64": "manylinux_2_17_x86_64",
    "linux-aarch64": "manylinux_2_28_aarch64",
    "linux-armv7l": "manylinux_2_17_armv7l",
    "musl-x86_64": "musllinux_1_1_x86_64",
    "musl-aarch64": "musllinux_1_1_aarch64",
    "musl-armv7l": "musllinux_1_1_armv7l",
    "macos-x86_64": "macosx_10_12_x86_64",
    "macos-arm64": "macosx_11_0_arm64",
}
_DOWNLOAD_SECONDS = 900


def download(requirements: Path, platform: str, python: str, directory: Path) -> None:
    """Download the wheels that these requirements need on a platform. Raises UserError."""
    wanted = requirements
    if platform.startswith("windows"):  # pip evaluates markers for the system on which it runs
        wanted = requirements.with_name("requirements-windows.txt")
        wanted.write_text(requirements.read_text().replace(" ; sys_platform == 'win32'", ""))
    _pip(
        f"the dependencies for {platform} and Python {python}",
        *("--require-hashes", "--requirement", str(wanted), "--no-deps"),
        *_target(PLATFORMS[platform], python),
        *("--dest", str(directory)),
    )


def find_pip(scratch: Path) -> Path:
    """Return a wheel of pip: the one that Python includes, else from the package index. Raises UserError."""
    if included := find_included_pip():
        return included
    _pip("pip", "--no-deps", "pip", "--dest", str(scratch))
    return next(scratch.glob("pip-*.whl"))


def download_uv(platform: str, scratch: Path) -> bytes | None:
    """Return the program uv for a platform; None where the install script cannot use it. Raises UserError."""
    if platform not in _UV:
        return None
    _pip(f"uv for {platform}", "--no-deps", *_target((_UV[platform],), "3.11"), "uv", "--dest", str(scratch))
    (wheel,) = scratch.glob("uv-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/scripts/uv"))
        return archive.read(name)


def _target(tags: Sequence[str], python: str) -> list[str]:
    platforms = [word for tag in tags for word in ("--platform", tag)]
    return ["--only-binary", ":all:", *platforms, "--python-version", python, "--implementation", "cp"]


def _pip(what: str, *words: str) -> None:
    argv = [*_pip_command(), "download", "--quiet", "--no-input", "--disable-pip-version-check", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"downloading {what} took more than {_DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = (errors or done.stderr.splitlines() or ["pip failed"])[-1].removeprefix("ERROR: ")
        raise UserError(f"cannot download {what}: {reason}")


def _pip_command() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if included := find_included_pip():
        return [sys.executable, f"{included}/pip"]
    raise UserError("this Python has no pip: install it (on Debian: apt-get install python3-venv)")
