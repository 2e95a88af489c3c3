"""Addresses that denote this machine. Standard library only."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether an address or host name denotes this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
