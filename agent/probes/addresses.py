"""The addresses of a host, within a deadline, without those that a probe must not reach.

Invariants:
- A name in the target of an operator never leads to this machine or to a link, since its records are in other hands.
  Addresses that the owner permits, and all targets of the owner, are reached.
- A name is looked up once at a time, however many probes wait for it: `getaddrinfo` cannot be interrupted.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from agent.probes.outcome import Deadline

Permits = Callable[[IPv4Address | IPv6Address], bool]


class NotPermittedError(OSError):
    """An address that the owner of the machine does not permit."""


def resolve(host: str, deadline: Deadline, permits: Permits) -> list[str]:
    """Return the addresses of a host. Raises OSError: socket.gaierror, TimeoutError or NotPermittedError."""
    addresses = _look_up(host, deadline)
    permitted = [each for each in addresses if permits(ip_address(each.partition("%")[0]))]
    if not permitted:
        raise NotPermittedError(f"{addresses[0]} is not permitted by the owner of this machine")
    return permitted


def is_internal(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of this machine, of a link, or of no host."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    found = mapped or address
    return found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified or found.is_reserved


class _Lookup:
    """A lookup in a thread of its own, for which several probes may wait."""

    def __init__(self, host: str) -> None:
        self.addresses: list[str] = []
        self.problem: OSError = TimeoutError()
        self.ended = threading.Event()
        self._host = host

    def run(self) -> None:
        try:
            answers = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
            self.addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except UnicodeError:
            self.problem = socket.gaierror(socket.EAI_NONAME, "not a name")
        except OSError as error:
            self.problem = error
        finally:
            with _lock:
                _lookups.pop(self._host, None)
            self.ended.set()


_lookups: dict[str, _Lookup] = {}
_lock = threading.Lock()


def _look_up(host: str, deadline: Deadline) -> list[str]:
    with suppress(ValueError):
        return [str(ip_address(host))]
    with _lock:
        lookup = _lookups.get(host)
        if lookup is None:
            lookup = _lookups[host] = _Lookup(host)
            try:
                threading.Thread(target=lookup.run, name="resolver", daemon=True).start()
            except RuntimeError:
                del _lookups[host]
                raise OSError("the system permits no further thread") from None
    if not lookup.ended.wait(deadline.left()) or not lookup.addresses:
        raise lookup.problem
    return lookup.addresses
