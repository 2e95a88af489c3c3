"""DNS probes: whether a name has addresses, by the resolver of the system or by a server.

Invariants:
- An answer counts only if it comes from the server, with the random number of the question; others are ignored.
- Names in an answer are skipped, never followed, so that no answer makes an endless loop.
"""

import secrets
import socket
import struct
from ipaddress import ip_address
from typing import Final

from agent.probes.addresses import Permits, resolve
from agent.probes.outcome import Deadline, ProbeOutcome
from runtime.settings.probe import Probe

_A, _AAAA = 1, 28
_TYPES: Final = {_A: 4, _AAAA: 16}
_RCODES: Final = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
_ANSWER_MAX: Final = 4096
_RECORDS_MAX: Final = 256


def probe_dns(probe: Probe, deadline: Deadline, permits: Permits) -> ProbeOutcome:
    """Resolve the name. Raises OSError, or ValueError for an answer that cannot be read."""
    target = probe.parsed
    name = target.path[1:]
    if not name:  # the addresses are only compared, never connected to
        found = resolve(target.host, deadline, lambda _address: True)
        return _judge(probe, found, deadline)
    server = resolve(target.host, deadline, permits)[0]
    found, problem = _ask(server, target.port, name, _A, deadline)
    if not problem and (not found or any(":" in each for each in probe.address)):
        more, problem = _ask(server, target.port, name, _AAAA, deadline)
        found += more
    return ProbeOutcome(False, problem, deadline.taken()) if problem else _judge(probe, found, deadline)


def _judge(probe: Probe, found: list[str], deadline: Deadline) -> ProbeOutcome:
    addresses = {str(ip_address(each.partition("%")[0])) for each in found}
    shown = ", ".join(sorted(addresses)[:4]) or "no address"
    missing = [each for each in probe.address if each not in addresses]
    if missing:
        return ProbeOutcome(False, f"{shown}, without {', '.join(missing)}", deadline.taken())
    return ProbeOutcome(bool(addresses), shown, deadline.taken())


def _ask(server: str, port: int, name: str, type_: int, deadline: Deadline) -> tuple[list[str], str]:
    """Return the addresses of a name, and why there are none: an empty text if the server answered well."""
    number = secrets.randbelow(1 << 16)
    labels = name.rstrip(".").encode("ascii").split(b".")
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError("not a name")
    question = b"".join(bytes((len(label),)) + label for label in labels) + struct.pack("!BHH", 0, type_, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.connect((server, port))  # so that only this server's datagrams arrive
        connection.settimeout(deadline.left())
        connection.send(struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + question)
        while True:
            connection.settimeout(deadline.left())
            answer = connection.recv(_ANSWER_MAX)
            if answer[:2] == number.to_bytes(2, "big") and answer[12 : 12 + len(question)].lower() == question.lower():
                return _addresses(answer, 12 + len(question), type_)


def _addresses(answer: bytes, at: int, type_: int) -> tuple[list[str], str]:
    try:
        flags, _questions, records = struct.unpack_from("!HHH", answer, 2)
        if flags & 15:
            return [], _RCODES.get(flags & 15, f"code {flags & 15}")
        found = []
        for _ in range(min(records, _RECORDS_MAX)):
            at = _skip_name(answer, at)
            kind, _class, _lifetime, length = struct.unpack_from("!HHIH", answer, at)
            at += 10
            if kind == type_ and length == _TYPES[type_]:
                found.append(str(ip_address(answer[at : at + length])))
            at += length
    except (struct.error, IndexError, ValueError):
        raise ValueError("the answer cannot be read") from None
    return found, ""


def _skip_name(answer: bytes, at: int) -> int:
    while length := answer[at]:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1
