"""Network interfaces that carry the machine's own traffic, each byte once."""

import re
from collections.abc import Iterable
from pathlib import Path

from agent.host.small_files import read_text

_NETWORK = Path("/sys/class/net")
_ETHERNET = "1"  # ARPHRD_ETHER, which wireless interfaces have, too
_DERIVED_NAME = re.compile(r"(lo\d*$|Loopback|vEthernet|(bridge|bond|vlan|utun|gif|stf|awdl|llw|vmnet)\d*$)")


def real_interfaces(names: Iterable[str]) -> set[str]:
    """Return the interfaces of a device. Without any, as in a container, those that are not built on others.

    What is built on others (bridge, bond, VLAN, tunnel) and the host's end of a container's interface would count the
    same bytes again. Where the system does not describe its interfaces, their names decide.
    """
    named = {name for name in names if not _DERIVED_NAME.match(name)}
    described = {name for name in named if (_NETWORK / name).exists()}
    if not described:
        return named
    devices = {name for name in described if (_NETWORK / name / "device").exists()}
    if devices:
        return {name for name in devices if _master(name) not in devices}
    return {name for name in described if not _is_derived(_NETWORK / name)}


def _master(name: str) -> str:
    """Return the interface that passes on this one's bytes, as with a virtual function of Azure; empty if none."""
    try:
        return (_NETWORK / name / "master").readlink().name
    except OSError:
        return ""


def _is_derived(interface: Path) -> bool:
    return (
        read_text(interface / "type") not in ("", _ETHERNET)
        or any((interface / mark).exists() for mark in ("bridge", "bonding", "tun_flags"))
        or "DEVTYPE=" in read_text(interface / "uevent")
        or next(interface.glob("lower_*"), None) is not None
    )
