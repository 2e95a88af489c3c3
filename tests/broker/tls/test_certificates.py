"""What `dashfleet tls` makes."""

import datetime
import stat
from pathlib import Path

import pytest
from certificates import NOW, certificates
from cryptography import x509

from broker.tls.certificates import SERVER_DAYS, create, renew
from runtime.errors import UserError


def names_of(path: Path) -> list[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_keys_are_their_owners_alone_and_certificates_are_everybodys(tmp_path: Path) -> None:
    place = certificates(tmp_path / "tls")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.directory.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o644, "server.key": 0o600}


def test_the_certificate_is_good_for_names_and_addresses_and_no_longer_than_said(tmp_path: Path) -> None:
    place = certificates(
        tmp_path, "fleet.example.org", "192.0.2.7", "2001:db8::7", "fleet.example.org", "bücher.example"
    )
    assert names_of(place.certificate) == ["fleet.example.org", "192.0.2.7", "2001:db8::7", "xn--bcher-kva.example"]
    certificate = x509.load_pem_x509_certificate(place.certificate.read_bytes())
    assert certificate.not_valid_after_utc == NOW.replace(microsecond=0) + datetime.timedelta(days=SERVER_DAYS)


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "server.pem", "server.key"])
def test_what_is_there_is_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} exists"):
        certificates(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize("name", ["", "a" * 64, "a..b", "über" * 30])
def test_what_is_neither_a_name_nor_an_address_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="neither a host name nor an IP address"):
        create(tmp_path / "tls", [name], now=NOW)
    assert not (tmp_path / "tls").exists()


def test_renewing_changes_the_brokers_certificate_and_not_the_authority(tmp_path: Path) -> None:
    place = certificates(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    renew(tmp_path, ["other.example.org"], now=NOW + datetime.timedelta(days=365))
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed == {place.certificate, place.key}
    assert names_of(place.certificate) == ["other.example.org"]
    authority = x509.load_pem_x509_certificate(place.authority.read_bytes())
    x509.load_pem_x509_certificate(place.certificate.read_bytes()).verify_directly_issued_by(authority)


def test_renewing_without_the_authority_says_so(tmp_path: Path) -> None:
    place = certificates(tmp_path)
    place.authority_key.unlink()
    with pytest.raises(UserError, match=r"cannot read the authority's .*ca\.key: No such file"):
        renew(tmp_path, ["x"], now=NOW)
    place.authority_key.write_bytes(place.key.read_bytes())
    with pytest.raises(UserError, match="are not an authority"):
        renew(tmp_path, ["x"], now=NOW)
    place.authority_key.write_text("no key")
    with pytest.raises(UserError, match="are not an authority"):
        renew(tmp_path, ["x"], now=NOW)
