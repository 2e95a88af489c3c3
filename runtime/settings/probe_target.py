"""Targets of reachability probes, and the patterns of an owner that permit targets.

A target is `tcp://HOST:PORT`, `tls://HOST:PORT`, `http://HOST[:PORT]/PATH`, `https://HOST[:PORT]/PATH`, `dns://NAME`,
`dns://SERVER/NAME` or `icmp://HOST`. A pattern is `SCHEME://HOST[:PORT]`, in which the scheme and the port may be `*`,
and the host has `*` for any characters, or is a network such as `10.0.0.0/8`.

Invariants:
- A target has no user name, password, query of another protocol, space or control character.
- A host that looks like an address is one: `127.1` and `0x7f000001` are refused, which some resolvers take for one.
- A pattern without a port permits the usual port of the scheme only.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

TARGET_MAX: Final = 128
"""Characters of a target, which is a device of series and a key of facts."""

PORTS: Final = {"http": 80, "https": 443, "dns": 53, "icmp": 0, "tcp": None, "tls": None}
"""Usual port by scheme; None: a target has to name one."""

_HOST: Final = r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+))"
_TARGET: Final = re.compile(rf"(?P<scheme>[a-z]+)://{_HOST}(?::(?P<port>\d{{1,5}}))?(?P<path>/[!-~]*)?")
_PATTERN: Final = re.compile(
    r"(?P<scheme>\*|[a-z]+)://(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.*?-]+))"
    r"(?P<bits>/\d{1,3})?(?::(?P<port>\*|\d{1,5}))?"
)
_SYNTAX: Final = (
    "write tcp://HOST:PORT, tls://HOST:PORT, http://HOST/PATH, https://HOST/PATH, dns://NAME, dns://SERVER/NAME or "
    "icmp://HOST"
)
Address = IPv4Address | IPv6Address


class ProbeTarget(NamedTuple):
    """A target. `host` is in lower case; `port` is 0 for `icmp`; `path` begins with `/` or is empty."""

    text: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> Address | None:
        """The host, if it is an address and not a name."""
        return _address(self.host)


class TargetPattern(NamedTuple):
    """A pattern of the owner. `port`: None permits any."""

    scheme: str
    host: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    def permits(self, target: ProbeTarget, address: Address | None = None) -> bool:
        """Return whether the target is permitted; with an `address`, whether it is in a network that is permitted."""
        usual = PORTS.get(target.scheme) or 0
        wanted = usual if self.port == 0 else self.port
        if self.scheme not in ("*", target.scheme) or (wanted is not None and wanted != target.port):
            return False
        address = address or target.address
        if address is not None:
            return self.network is not None and address in self.network
        return self.network is None and fnmatchcase(target.host, self.host)


def parse_target(text: str) -> ProbeTarget:
    """Return a target. Raises ValueError with a sentence."""
    found = _TARGET.fullmatch(text) if len(text) <= TARGET_MAX else None
    if found is None or found["scheme"] not in PORTS:
        raise ValueError(f"a target has at most {TARGET_MAX} characters: {_SYNTAX}")
    scheme, host, path = found["scheme"], (found["ipv6"] or found["host"]).lower(), found["path"] or ""
    usual = PORTS[scheme]
    if found["port"] is None and usual is None:
        raise ValueError(f"a target with {scheme} needs a port: {_SYNTAX}")
    port = int(found["port"] or usual or 0)
    if port > 65_535 or (scheme == "icmp" and found["port"]) or (path and scheme in ("tcp", "tls", "icmp")):
        raise ValueError(f"a target is none of those that exist: {_SYNTAX}")
    _check_host(host, is_ipv6=found["ipv6"] is not None)
    if scheme == "dns" and path:
        _check_host(path[1:].lower(), is_ipv6=False)
    return ProbeTarget(text, scheme, host, port, path)


def parse_pattern(text: str) -> TargetPattern:
    """Return a pattern. Raises ValueError with a sentence."""
    found = _PATTERN.fullmatch(text)
    if found is None or found["scheme"] not in ("*", *PORTS):
        raise ValueError("a pattern is SCHEME://HOST[:PORT], such as https://*.example.org or tcp://10.0.0.0/8:22")
    host = (found["ipv6"] or found["host"]).lower()
    network = None
    if found["bits"] or _address(host) is not None:
        try:
            network = ip_network(f"{host}{found['bits'] or ''}")
        except ValueError:
            raise ValueError(f"{host}{found['bits'] or ''} is not a network") from None
    port = found["port"]
    if port == "*":
        return TargetPattern(found["scheme"], host, network, None)
    if port is None and (found["scheme"] == "*" or PORTS[found["scheme"]] is None):
        raise ValueError(f"the pattern {text} needs a port, which may be *")
    return TargetPattern(found["scheme"], host, network, int(port or 0))


def permits(patterns: Iterable[TargetPattern], target: ProbeTarget) -> bool:
    """Return whether one of the patterns permits a target."""
    return any(pattern.permits(target) for pattern in patterns)


def _check_host(host: str, *, is_ipv6: bool) -> None:
    last = host.rstrip(".").rpartition(".")[2]
    looks_like_address = is_ipv6 or last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
    if looks_like_address and _address(host) is None:
        raise ValueError(f"{host} is neither a name nor an address")
    if len(host) > 253 or ".." in host or host.startswith((".", "-")):
        raise ValueError(f"{host} is not a name of a host")


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
