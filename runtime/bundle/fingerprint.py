"""The fingerprint of a CA certificate, which the install command pins. Standard library only."""

import hashlib
import ssl

from runtime.errors import UserError


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 fingerprint of a PEM certificate, as `openssl x509 -fingerprint -sha256` has it.

    Raises UserError if there is not exactly one certificate: only the first of several would be verified.
    """
    try:
        text = certificate.decode().strip()
        if text.count("BEGIN CERTIFICATE") == 1:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()
    except ValueError:
        pass
    raise UserError("the CA certificate must be one certificate in PEM")
