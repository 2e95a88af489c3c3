"""ICMP probes: an echo request, without privileges where `net.ipv4.ping_group_range` permits, else with CAP_NET_RAW.

Where neither is given, the machine cannot find out: that is unknown, not down.
"""

import secrets
import socket
import struct

from agent.probes.addresses import Permits, resolve
from agent.probes.outcome import Deadline, ProbeOutcome
from runtime.settings.probe import Probe

_NOT_PERMITTED = "ICMP is not permitted to the agent: see net.ipv4.ping_group_range"
_AGAIN_SECONDS = 1.0


def probe_icmp(probe: Probe, deadline: Deadline, permits: Permits) -> ProbeOutcome:
    """Send an echo request each second until one is answered. Raises OSError."""
    address = resolve(probe.parsed.host, deadline, permits)[0]
    is_ipv6 = ":" in address
    opened = _open(is_ipv6=is_ipv6)
    if opened is None:
        return ProbeOutcome(None, _NOT_PERMITTED)
    token = secrets.token_bytes(16)
    with opened as connection:
        for number in range(1, 1 << 16):
            sent_at = deadline.taken()
            connection.sendto(_request(token, number, is_ipv6=is_ipv6), (address, 0))
            if _is_answered(connection, token, deadline, sent_at + _AGAIN_SECONDS, is_ipv6=is_ipv6):
                return ProbeOutcome(True, "answers", deadline.taken() - sent_at)
    raise TimeoutError


def _open(*, is_ipv6: bool) -> socket.socket | None:
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if is_ipv6 else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind, protocol)
        except OSError:
            continue
    return None


def _is_answered(connection: socket.socket, token: bytes, deadline: Deadline, until: float, *, is_ipv6: bool) -> bool:
    """Return whether an answer with the token arrives until this many seconds after the beginning."""
    reply = 129 if is_ipv6 else 0
    while (left := until - deadline.taken()) > 0:
        connection.settimeout(min(left, deadline.left()))
        try:
            answer = connection.recv(1024)
        except TimeoutError:
            deadline.left()
            continue
        start = answer.find(token)  # a raw socket delivers the header of IP too, and what others are sent
        if start >= 8 and answer[start - 8] == reply:
            return True
    return False


def _request(token: bytes, number: int, *, is_ipv6: bool) -> bytes:
    kind = 128 if is_ipv6 else 8
    identifier = int.from_bytes(token[:2], "big")
    content = struct.pack("!BBHHH", kind, 0, 0, identifier, number) + token
    return content[:2] + _checksum(content).to_bytes(2, "big") + content[4:]


def _checksum(content: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
