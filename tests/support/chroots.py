"""This host's root with a layer of changes over it: programs run in it as root and leave the host as it is."""

import os
import subprocess
from pathlib import Path

import pytest
from servers import require_program

_ENTER = """
mount -t overlay -o lowerdir=/,upperdir=$1/changes,workdir=$1/work overlay $1/root || exit 125
mount --rbind /dev $1/root/dev && mount --rbind /proc $1/root/proc && mount --rbind /tmp $1/root/tmp || exit 125
where=$1; shift
exec chroot $where/root "$@"
"""
_NO_OVERLAY = 125


class LayeredRoot:
    """A root of its own for each test. `directory` must not be on an overlay itself."""

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("a root of its own needs root")
        require_program("unshare", "util-linux")
        self._place = directory
        for name in ("root", "changes", "work"):
            (directory / name).mkdir()

    def argv(self, *words: str) -> list[str]:
        """Return the argv of a program in this root."""
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh", str(self._place), *words]

    def run(self, *words: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words),
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            # Python would write its byte code beside the sources and count as changes of this root
            env={"PATH": os.environ["PATH"], "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            check=False,
        )
        if done.returncode == _NO_OVERLAY:
            pytest.skip(f"this host has no overlay file system: {done.stderr}")
        return done

    def path(self, name: str) -> Path:
        """Return the place of a file that was changed in it."""
        return self._place / "changes" / name.lstrip("/")

    def changes(self) -> set[str]:
        """Return the files that differ from the host's: created, changed, or deleted."""
        top = self._place / "changes"
        return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir() or path.is_symlink()}
