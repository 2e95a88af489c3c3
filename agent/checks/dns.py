"""The name of the broker."""

import socket

from agent.check import Examination, Finding, check


@check(order=10)
def dns(examination: Examination) -> Finding:
    """Resolve the host of the broker."""
    host = examination.settings.address.host
    try:
        found = socket.getaddrinfo(host, examination.settings.address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "Check the name in the setting server, and the name servers in /etc/resolv.conf."
        return Finding("dns", "problem", f"{host} cannot be resolved: {reason}", advice)
    addresses = sorted({str(each[4][0]) for each in found})
    return Finding("dns", "ok", f"{host} is {', '.join(addresses)}")
