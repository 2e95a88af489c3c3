"""Addresses that a message may be sent to: public ones, unless the server's owner allows private ones.

Invariants:
- The decision is about the numeric address of a connection, never about a name or the way in which it is written.
- An IPv4 address inside an IPv6 address (mapped, NAT64, 6to4) is judged as that IPv4 address.
- Link-local, multicast, unspecified and metadata addresses are never allowed.
- A name is not judged here: its addresses are, when a message is sent.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from schemas.people.services import server_of

_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_NEVER: Final = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "169.254.0.0/16",  # link-local, with the metadata of cloud machines
        "168.63.129.16/32",  # metadata of Azure, although its address is public
        "100.100.100.200/32",  # metadata of Alibaba
        "192.0.0.192/32",  # metadata of Oracle
        "fd00:ec2::254/128",  # metadata of AWS
        "fe80::/10",
        "::/128",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "ff00::/8",
    )
)
_NOT_PUBLIC: Final = tuple(
    ip_network(each)
    for each in (
        "192.88.99.0/24",  # relays to 6to4
        "::/96",  # IPv4-compatible, deprecated
        "64:ff9b:1::/48",  # NAT64 with a local prefix
        "2001::/32",  # Teredo
        "fec0::/10",  # site-local, deprecated
    )
)


def is_allowed(text: str, *, allow_private: bool) -> bool:
    """Return True if a connection to this numeric address is allowed. Anything that is no address is not."""
    try:
        address = _inner(ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    if any(address in network for network in _NEVER):
        return False
    return allow_private or (address.is_global and not any(address in network for network in _NOT_PUBLIC))


def refusal(text: str, *, allow_private: bool, permit: str) -> str:
    """Return why a connection to this numeric address is not allowed, "" if it is.

    `permit`: how the server's owner permits a private address; it is not said of an address that is never allowed.
    """
    if is_allowed(text, allow_private=allow_private):
        return ""
    if is_allowed(text, allow_private=True):
        return f"{text} is not a public address: {permit}"
    return f"{text or 'this kind of address'} is never sent to: use the address of a service"


def refusal_of_url(url: str, *, allow_private: bool, permit: str) -> str:
    """Return why the numeric address in the URL of a destination is not allowed, "" if it is, or if it has a name."""
    address = _numeric(server_of(url))
    return refusal(address, allow_private=allow_private, permit=permit) if address else ""


def _numeric(server: str) -> str:
    """Return an address in its usual form, also if it is written as one number, octal or hexadecimal; "" for names."""
    try:
        return str(ip_address(server.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(server))
    except OSError:
        return ""


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address inside an IPv6 address, if there is one."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return address
