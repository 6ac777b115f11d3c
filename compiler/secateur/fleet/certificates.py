"""The certificates of a broker on one machine: a CA of its own, and a server certificate for the machine's names.

Both are valid from 1970 on: a board without a clock chip would else refuse them as "not yet valid". Nothing is lost by that,
for the keys did not exist before.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secateur_agent.store import write_atomic

CA_DAYS, CA_RENEW_DAYS = 20 * 365, 2 * 365
SERVER_DAYS, SERVER_RENEW_DAYS = 2 * 365, 240
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*")


class CertificateError(ValueError):
    """A certificate cannot be made, or a file of one is damaged."""


def checked_name(name: str) -> str:
    """Return a host name if it can stand in a certificate.

    Raises:
        CertificateError: if it cannot.
    """
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise CertificateError(f"--host {name!r}: expected a host name such as broker.local")
    return name


def checked_address(text: str) -> str:
    """Return an IP address in its usual form.

    Raises:
        CertificateError: if it is none.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise CertificateError(f"--ip {text!r}: expected an address such as 192.168.1.10") from None


def ensure_ca(folder: Path, now: datetime.datetime) -> bool:
    """Make ``ca.key`` and ``ca.pem`` if they are not there; near its end, the certificate is made again for the same key.

    Returns:
        Whether ``ca.pem`` is new, so that devices need it.

    Raises:
        CertificateError: if one of the two is damaged.
        secateur_agent.store.StoreError: if they cannot be written.
    """
    key_path, path = folder / "ca.key", folder / "ca.pem"
    if not key_path.exists():
        if path.exists():
            raise CertificateError(
                f"{key_path}: missing, although {path} is there; restore it, or remove {path} to begin anew"
            )
        _write_key(key_path)
    key = _read_key(key_path)
    if path.exists() and _days_left(read_certificate(path), now) > CA_RENEW_DAYS:
        return False
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Secateur broker CA")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_atomic(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return True


def ensure_server(folder: Path, names: Sequence[str], addresses: Sequence[str], now: datetime.datetime) -> bool:
    """Make ``server.key`` and ``server.pem`` if they are not there, near their end, or of other names or another CA.

    Args:
        folder: where the CA is too.
        names: host names.
        addresses: IP addresses.
        now: the time.

    Returns:
        Whether the certificate is new.

    Raises:
        CertificateError: if a file is damaged.
        secateur_agent.store.StoreError: if they cannot be written.
    """
    path, key_path = folder / "server.pem", folder / "server.key"
    ca, ca_key = read_certificate(folder / "ca.pem"), _read_key(folder / "ca.key")
    wanted: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    wanted += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
    if path.exists() and key_path.exists() and _serves(read_certificate(path), _read_key(key_path), ca, wanted, now):
        return False
    _write_key(key_path)
    key = _read_key(key_path)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _builder(subject, ca.subject, key, now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_atomic(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return True


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        CertificateError: if it is not there or damaged.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise CertificateError(f"{path}: damaged; restore it, or remove it to have it made again") from None


def _serves(
    found: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    wanted: list[x509.GeneralName],
    now: datetime.datetime,
) -> bool:
    try:
        found.verify_directly_issued_by(ca)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    same = set(names) == set(wanted) and found.public_key() == key.public_key()
    return same and _days_left(found, now) > SERVER_RENEW_DAYS


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_EPOCH)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(**uses: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: uses.get(name, False) for name in names})


def _days_left(certificate: x509.Certificate, now: datetime.datetime) -> float:
    return (certificate.not_valid_after_utc - now).total_seconds() / 86_400


def _write_key(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomic(path, data, mode=0o600)
    os.chmod(path, 0o600)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise CertificateError(f"{path}: damaged; restore it from a copy") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path}: not a key on an elliptic curve; restore it from a copy")
    return key
