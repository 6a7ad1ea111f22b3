"""Certificates of a gateway's port, as files: good ones, expired ones, with an encrypted key, from an authority."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates of ports; ``path`` is its own, as callers trust it."""

    path: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def write_authority(folder: Path) -> Authority:
    """Writes ``authority.crt``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the company's authority")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "authority.crt"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Authority(path, certificate, key)


def write_pair(
    folder: Path,
    name: str = "port",
    *,
    begins: int = -1,
    ends: int = 30,
    passphrase: bytes = b"",
    host: str = "gateway.example",
    hosts: Sequence[str] = ("127.0.0.1",),
    authority: Authority | None = None,
) -> tuple[str, str]:
    """Writes ``NAME.crt`` and ``NAME.key``, valid from and to so many days from now; returns the paths.

    It is for ``host`` and for ``hosts``, and signed by an authority or else by itself.

    The two files are replaced in place, as an operator's copy does it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    names = [_named(each) for each in (host, *hosts)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + ends * DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key if authority else key, hashes.SHA256())
    )
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(secret)
    return str(certificate_path), str(key_path)


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
