"""The agent's user, and the ownership of its files.

macOS and Windows parts are not run by the tests, which have neither.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from agent.service import USER, require
from runtime.errors import UserError

if sys.platform != "win32":
    import grp
    import pwd

_LOCAL_SERVICE = "*S-1-5-19"
_NOBODY_ELSE = ("*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F", f"{_LOCAL_SERVICE}:(OI)(CI)M")
"""Rights on the state directory on Windows: the system, administrators, and the task's account."""


def user_name() -> str:
    """Return the name of the agent's user on this system."""
    return f"_{USER}" if sys.platform == "darwin" else USER


def has_user() -> bool:
    """Return True if the user exists."""
    with suppress(KeyError):
        return sys.platform != "win32" and bool(pwd.getpwnam(user_name()))
    return False


def create_user(home: Path) -> None:
    """Create the user, which cannot sign in. Raises UserError."""
    name = user_name()
    if sys.platform == "darwin":
        used = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
        number = str(next(number for number in range(380, 500) if number not in used))
        require(["dscl", ".", "-create", f"/Groups/{name}", "PrimaryGroupID", number])
        for key, value in {"UniqueID": number, "PrimaryGroupID": number, "UserShell": "/usr/bin/false"}.items():
            require(["dscl", ".", "-create", f"/Users/{name}", key, value])
        require(["dscl", ".", "-create", f"/Users/{name}", "NFSHomeDirectory", str(home)])
    elif shutil.which("useradd"):
        shell = next((each for each in ("/usr/sbin/nologin", "/sbin/nologin") if Path(each).exists()), "/bin/false")
        words = ["--system", "--user-group", "--no-create-home", "--home-dir", str(home), "--shell", shell]
        require(["useradd", *words, name])
    elif shutil.which("adduser"):  # BusyBox
        require(["addgroup", "-S", name])
        require(["adduser", "-S", "-D", "-H", "-h", str(home), "-s", "/sbin/nologin", "-G", name, name])
    else:
        raise UserError(f"there is neither useradd nor adduser: create the user {name} first")


def remove_user() -> None:
    """Remove the user and its group. Raises UserError."""
    name = user_name()
    if not has_user():
        return
    if sys.platform == "darwin":
        require(["dscl", ".", "-delete", f"/Users/{name}"])
        require(["dscl", ".", "-delete", f"/Groups/{name}"])
    elif shutil.which("userdel"):
        require(["userdel", name])
    else:
        require(["deluser", name])


def give(path: Path) -> None:
    """Make a directory, and what is in it, the user's alone. Raises OSError, UserError."""
    if sys.platform == "win32":
        grants = [word for right in _NOBODY_ELSE for word in ("/grant", right)]
        require(["icacls", str(path), "/inheritance:r", *grants])
        return
    user = pwd.getpwnam(user_name())
    path.chmod(0o700)
    for each in (path, *path.rglob("*")):
        status = each.lstat()
        if (status.st_uid, status.st_gid) != (user.pw_uid, user.pw_gid):
            os.chown(each, user.pw_uid, user.pw_gid, follow_symlinks=False)


def share(directory: Path, *, group: bool) -> None:
    """Let the user add entries to a directory of root's, or not; entries of root's stay out of its reach (sticky).

    Raises OSError.
    """
    if sys.platform == "win32":
        return
    wanted = (0o1775, pwd.getpwnam(user_name()).pw_gid) if group else (0o755, 0)
    status = directory.stat()
    if (status.st_mode & 0o7777, status.st_gid) != wanted:
        os.chown(directory, 0, wanted[1])
        directory.chmod(wanted[0])


def give_link(link: Path) -> None:
    """Make a link the user's, so that the user may replace it in a shared directory. Raises OSError."""
    if sys.platform != "win32":
        user = pwd.getpwnam(user_name())
        if link.lstat().st_uid != user.pw_uid:
            os.chown(link, user.pw_uid, user.pw_gid, follow_symlinks=False)


def require_usable(python: Path, data: Path) -> None:
    """Raise UserError if the user cannot run this Python, as when it is in the home directory of another."""
    try:
        code = run_as_user([str(python), "-I", "-c", "import dashfleet"], typed="", data=data).returncode
    except PermissionError:
        code = 1
    if code:
        raise UserError(
            f"the user {user_name()} cannot run {python}: install DashFleet where every user can read it, such as in "
            "/opt, or use install.sh of the dashboard"
        )


def run_as_user(argv: list[str], *, typed: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as the user, with this text on its standard input. Raises OSError."""
    mine = {name: os.environ[name] for name in ("PATH", "LANG", "SSL_CERT_FILE", "SYSTEMROOT") if name in os.environ}
    environment = {**mine, "HOME": str(data)}
    other = sys.platform != "win32" and os.geteuid() == 0
    return subprocess.run(
        argv,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=data,
        umask=0o077 if sys.platform != "win32" else -1,
        user=user_name() if other else None,
        group=user_name() if other else None,
        extra_groups=() if other else None,
    )
