# ruff: noqa: INP001 - a program beside its scripts, no package
"""Build the Debian package of the agent: `build.py OUTPUT [PLATFORM] [PYTHON]`, as `make packages` does.

The package contains the agent and its dependencies for one Python version, which it depends on, so that installing it
needs no package index. dpkg-deb must be installed.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.services.systemd import UNIT, unit
from runtime.bundle import builder
from runtime.version import VERSION

ARCHITECTURES = {"linux-x86_64": "amd64", "linux-aarch64": "arm64"}
LIBRARY = Path("usr/lib/dashfleet")
DATA = Path("/var/lib/dashfleet")
_CONTROL = """Package: dashfleet-agent
Version: {version}
Architecture: {architecture}
Maintainer: DashFleet maintainers <maintainers@dashfleet.invalid>
Depends: python3 (>= {python}), python3 (<< {next_python}), adduser
Section: admin
Priority: optional
Description: Agent of DashFleet
 Sends measurements of this machine to its DashFleet server over MQTT and
 executes signed orders. After the installation, enrol the machine:
 .
 sudo -u dashfleet dashfleet agent enrol --data /var/lib/dashfleet
 --server mqtts://HOST
"""
_LAUNCHER = """#!/bin/sh
PYTHONPATH=/usr/lib/dashfleet exec /usr/bin/python3 -P -m dashfleet "$@"
"""
_SCRIPTS = Path(__file__).parent


def main(output: Path, platform: str = "linux-x86_64", python: str = "3.11") -> Path:
    """Build the package into a directory and return its path."""
    with TemporaryDirectory() as scratch:
        bundle, tree = Path(scratch, "bundle"), Path(scratch, "tree")
        manifest = builder.build(bundle, platforms=[platform], pythons=[python])
        for file in (manifest.agent, *manifest.wheels):
            with zipfile.ZipFile(bundle / file.path) as wheel:
                wheel.extractall(tree / LIBRARY)
        for path in (tree / LIBRARY).glob("*.data"):  # scripts and man pages of dependencies
            shutil.rmtree(path)
        (tree / LIBRARY / "installed-by").write_text("the package dashfleet-agent\n")
        _write(tree / "usr/bin/dashfleet", _LAUNCHER, 0o755)
        _write(tree / "lib/systemd/system" / UNIT.name, unit(Path("/usr/bin/dashfleet"), DATA), 0o644)
        _write(tree / "usr/share/doc/dashfleet-agent/copyright", "License: Apache-2.0\n", 0o644)
        major, minor = python.split(".")
        control = {"python": python, "next_python": f"{major}.{int(minor) + 1}", "version": VERSION}
        _write(tree / "DEBIAN/control", _CONTROL.format(**control, architecture=ARCHITECTURES[platform]), 0o644)
        for name in ("postinst", "prerm", "postrm"):
            _write(tree / "DEBIAN" / name, (_SCRIPTS / name).read_text(), 0o755)
        output.mkdir(parents=True, exist_ok=True)
        package = output / f"dashfleet-agent_{VERSION}_{ARCHITECTURES[platform]}.deb"
        argv = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)]  # found on PATH
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return package


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), *sys.argv[2:])}\n")
