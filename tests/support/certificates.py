"""Certificates for tests, made once."""

import datetime
from pathlib import Path

from broker.tls.certificates import CertificateFiles, create

NOW = datetime.datetime.now(datetime.UTC)


def certificates(directory: Path, *names: str, now: datetime.datetime = NOW) -> CertificateFiles:
    """An authority and a server's certificate for these names (127.0.0.1 unless given) in a directory."""
    return create(directory, names or ("127.0.0.1", "localhost"), now=now)
