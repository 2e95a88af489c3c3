"""The certificate of the broker."""

import socket
import ssl

from agent.check import Examination, Finding, check

_WARNING_DAYS = 30
_DAY_SECONDS = 86_400
_DATES = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED


@check(order=30)
def certificate(examination: Examination) -> Finding:
    """Verify the broker's certificate as the agent does."""
    address = examination.settings.address
    if not address.tls:
        detail = f"{examination.settings.server} is used without TLS"
        if address.is_loopback:
            return Finding("certificate", "ok", detail)
        advice = "Use mqtts:// as server: the secret crosses the network in the clear."
        return Finding("certificate", "warning", detail, advice)
    try:
        with (
            socket.create_connection((address.host, address.port), examination.timeout) as connection,
            examination.tls_context().wrap_socket(connection, server_hostname=address.host) as secure,
        ):
            until = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as error:
        advice = (
            "Correct the clock of this machine, or renew the certificate on the server: dashfleet tls --renew."
            if error.verify_code in _DATES
            else "Set ca_file to the CA certificate of the server, and use a name that is in its certificate."
        )
        return Finding("certificate", "problem", f"it cannot be verified: {error.verify_message}", advice)
    except ssl.SSLError as error:
        advice = "Check that the port is the one with TLS, usually 8883."
        return Finding(
            "certificate", "problem", f"{address.host}:{address.port} does not speak TLS ({error.reason})", advice
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Finding("certificate", "problem", f"there is no connection: {reason}", "See the check of the port.")
    days = int((until - examination.clock.now() / 1000) // _DAY_SECONDS)
    if days < _WARNING_DAYS:
        return Finding("certificate", "warning", f"valid, but only for {days} days", "Renew it on the server.")
    return Finding("certificate", "ok", f"valid for {days} days")
