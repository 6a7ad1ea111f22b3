"""Certificates of servers that benchmarks and tests make for themselves: signed by themselves, or by an authority."""

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
class Pair:
    """A certificate and its private key, ECDSA P-256."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self, passphrase: bytes = b"") -> bytes:
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def write(self, folder: Path, name: str, passphrase: bytes = b"") -> tuple[str, str]:
        """Writes ``NAME.crt`` and ``NAME.key``; returns the paths. Files that are there are replaced in place."""
        certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
        certificate_path.write_bytes(self.certificate_pem)
        key_path.touch(mode=0o600)
        key_path.write_bytes(self.key_pem(passphrase))
        return str(certificate_path), str(key_path)


def new_pair(
    name: str,
    hosts: Sequence[str] = (),
    *,
    begins: int = -1,
    ends: int = 30,
    is_authority: bool = False,
    authority: Pair | None = None,
) -> Pair:
    """A new pair, valid from and to so many days from now.

    Args:
        name: its common name.
        hosts: names and addresses that it is for.
        begins: days from now.
        ends: days from now.
        is_authority: whether it may sign others.
        authority: signs it; None lets it sign itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + ends * DAY)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_named(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Pair(builder.sign(authority.key if authority else key, hashes.SHA256()), key)


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
