"""Pending updates, from what the package manager has cached: nothing here uses the network or writes.

Invariants:
- The program is run only when its cache or its database has changed since the last time.
- A line of its output that is not understood is left out.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from agent.host.calls.program import find_program, run_program

PROGRAM_SECONDS = 60.0


class PendingUpdate(NamedTuple):
    """A package for which the cache has a newer version."""

    package: str
    installed: str
    available: str
    security: bool


class PackageManager(NamedTuple):
    """A program that lists pending updates. `changes` are files that change with its cache and its database."""

    program: str
    arguments: tuple[str, ...]
    codes: tuple[int, ...]
    caches: tuple[str, ...]
    databases: tuple[str, ...]
    parse: Callable[[str], Iterator[PendingUpdate]]
    knows_security: bool

    @property
    def changed_at(self) -> tuple[float, ...]:
        """Times of the last changes of its cache and of its database."""
        return tuple(filter(None, map(_changed_at, (*self.caches, *self.databases))))

    @property
    def cached_at(self) -> float | None:
        """Time at which its cache was last brought up to date, in seconds since 1970."""
        return max(filter(None, map(_changed_at, self.caches)), default=None)

    def pending(self) -> list[PendingUpdate]:
        """Return the pending updates. Raises OSError if the program fails."""
        output = run_program([find_program(self.program) or self.program, *self.arguments], seconds=PROGRAM_SECONDS)
        if output.code not in self.codes:
            raise OSError(f"{self.program} ended with {output.code}")
        return sorted(set(self.parse(output.text)))


_APT = re.compile(r"^Inst (\S+)(?: \[([^\]]*)\])? \((\S+) ([^)]*)", re.MULTILINE)
_APK = re.compile(r"^(\S+)-(\d\S*-r\d+)\s+<\s+(\S+)", re.MULTILINE)
_PACMAN = re.compile(r"^(\S+) (\S+) -> (\S+)$", re.MULTILINE)
_DNF = re.compile(r"^(\S+)\.(?:noarch|x86_64|aarch64|i[3-6]86|ppc64le|s390x|armv7hl)\s+(\S+)\s+(\S+)$", re.MULTILINE)


def parse_apt(text: str) -> Iterator[PendingUpdate]:
    """Read `apt-get --simulate dist-upgrade`; a package without an installed version is new, not an update."""
    for package, installed, available, origin in _APT.findall(text):
        if installed:
            yield PendingUpdate(package, installed, available, "security" in origin.lower())


def parse_apk(text: str) -> Iterator[PendingUpdate]:
    """Read `apk version -l <`."""
    for package, installed, available in _APK.findall(text):
        yield PendingUpdate(package, installed, available, security=False)


def parse_pacman(text: str) -> Iterator[PendingUpdate]:
    """Read `pacman -Qu`."""
    for package, installed, available in _PACMAN.findall(text):
        yield PendingUpdate(package, installed, available, security=False)


def parse_dnf(text: str) -> Iterator[PendingUpdate]:
    """Read `dnf check-update` up to the list of packages that are replaced."""
    for package, available, _repository in _DNF.findall(text.partition("\nObsoleting Packages")[0]):
        yield PendingUpdate(package, "", available, security=False)


_APT_ARGUMENTS = (
    *("--simulate", "-o", "Debug::NoLocking=true", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="),
    *("-o", "Dir::Log::Planner="),  # the log of the last installation, which a simulation overwrites too
    "dist-upgrade",
)
PACKAGE_MANAGERS = (
    PackageManager(
        "apt-get", _APT_ARGUMENTS, (0,),
        ("/var/lib/apt/lists",), ("/var/lib/dpkg/status",), parse_apt, True,
    ),
    PackageManager(
        "dnf", ("--quiet", "--cacheonly", "check-update"), (0, 100),
        ("/var/cache/dnf", "/var/cache/libdnf5"), ("/var/lib/rpm", "/usr/lib/sysimage/rpm"), parse_dnf, False,
    ),
    PackageManager(
        "apk", ("version", "-l", "<"), (0,),
        ("/var/cache/apk", "/lib/apk/db"), ("/lib/apk/db/installed",), parse_apk, False,
    ),
    PackageManager(
        "pacman", ("-Qu",), (0, 1), ("/var/lib/pacman/sync",), ("/var/lib/pacman/local",), parse_pacman, False,
    ),
)  # fmt: skip


def package_manager() -> PackageManager | None:
    """Return the package manager of this machine, None if none is known."""
    return next((each for each in PACKAGE_MANAGERS if find_program(each.program) and each.changed_at), None)


def _changed_at(path: str) -> float | None:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return None


def reboot_required(run: Path = Path("/run"), modules: Path = Path("/usr/lib/modules")) -> bool | None:
    """Return whether updates need a reboot; None if the system does not say.

    Debian says so in a file. Elsewhere the modules of the running kernel are gone when another one was installed.
    """
    if (run / "reboot-required").exists():
        return True
    if not modules.is_dir() or not any(modules.iterdir()):
        return None  # a container
    return not (modules / os.uname().release).is_dir()
