"""The port of the broker."""

import socket

from agent.check import Examination, Finding, check


@check(order=20)
def port(examination: Examination) -> Finding:
    """Open a connection to the broker's port."""
    address = examination.settings.address
    where = f"{address.host}:{address.port}"
    try:
        socket.create_connection((address.host, address.port), examination.timeout).close()
    except ConnectionRefusedError:
        return Finding("port", "problem", f"nothing listens at {where}", "Start the broker, or correct the port.")
    except TimeoutError:
        advice = "A firewall drops the packets: allow outgoing TCP to this port, here and on the way."
        return Finding("port", "problem", f"{where} does not answer", advice)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "Check the network of this machine, and the setting server."
        return Finding("port", "problem", f"no connection to {where}: {reason}", advice)
    return Finding("port", "ok", f"{where} accepts connections")
