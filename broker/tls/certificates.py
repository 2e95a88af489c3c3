"""Certificates of an installation: a private authority, and the server's certificate issued by it.

    dashfleet tls → ca.pem (copied to every machine), ca.key, server.pem, server.key

Invariants:
- Existing files are never overwritten, except the server's pair by a renewal.
- Keys are created with mode 0600.
- The authority can issue server certificates but no further authorities; its key is needed only for renewals.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from runtime import files
from runtime.errors import UserError

AUTHORITY_DAYS = 7300
SERVER_DAYS = 397
"""Longest validity that strict clients accept. Renewing needs nothing on the machines, which trust the authority."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EARLIER = datetime.timedelta(hours=24)  # for machines whose clock is behind


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of the certificates in a directory."""

    directory: Path

    @property
    def authority(self) -> Path:
        """Certificate of the authority, which every machine trusts."""
        return self.directory / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """Key of the authority, which may be stored elsewhere until the next renewal."""
        return self.directory / "ca.key"

    @property
    def certificate(self) -> Path:
        """Certificate of the server."""
        return self.directory / "server.pem"

    @property
    def key(self) -> Path:
        """Key of the server."""
        return self.directory / "server.key"


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def create(directory: Path, names: Sequence[str], *, now: datetime.datetime) -> CertificateFiles:
    """Create an authority and a server certificate for these names and addresses. Raises UserError."""
    place = CertificateFiles(directory)
    for path in (place.authority, place.authority_key, place.certificate, place.key):
        if path.exists():
            raise UserError(f"{path} exists: renew the certificate with --renew, or choose another --directory")
    authority = new_authority(now)
    server = new_server(authority, names, now)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(authority, place.authority, place.authority_key)
        _write(server, place.certificate, place.key)
    except OSError as error:
        raise UserError(f"cannot write in {directory}: {error.strerror}") from None
    return place


def renew(directory: Path, names: Sequence[str], *, now: datetime.datetime) -> CertificateFiles:
    """Replace the server certificate by a new one of the same authority. Raises UserError."""
    place = CertificateFiles(directory)
    server = new_server(_read(place.authority, place.authority_key), names, now)
    try:
        _write(server, place.certificate, place.key)
    except OSError as error:
        raise UserError(f"cannot write in {directory}: {error.strerror}") from None
    return place


def names_in(certificate: Path) -> list[str]:
    """Return the host names and addresses in a certificate, in its order; none if it cannot be read."""
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def new_authority(now: datetime.datetime) -> CertificatePair:
    """Return a new authority that is valid for AUTHORITY_DAYS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"DashFleet authority of {now:%Y-%m-%d}")])
    builder = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return CertificatePair(builder.sign(key, hashes.SHA256()), key)


def new_server(
    authority: CertificatePair, names: Sequence[str], now: datetime.datetime, *, days: int = SERVER_DAYS
) -> CertificatePair:
    """Return a new server certificate for these names and addresses. Raises UserError if one is neither."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DashFleet broker")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(subject, authority.certificate.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys(names)]), critical=False)
        .add_extension(issuer, critical=False)
    )
    return CertificatePair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        host = name.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not host:
        raise UserError(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(host)


def _write(pair: CertificatePair, certificate: Path, key: Path) -> None:
    private = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.replace(key, private.decode())
    files.replace(certificate, pair.certificate.public_bytes(serialization.Encoding.PEM).decode())
    certificate.chmod(0o644)


def _read(certificate: Path, key: Path) -> CertificatePair:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        raise UserError(f"cannot read the authority's {error.filename}: {error.strerror}") from None
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise UserError(f"{certificate} and {key} are not an authority that dashfleet tls made") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        raise UserError(f"{certificate} and {key} are not an authority that dashfleet tls made")
    return CertificatePair(found, private)
