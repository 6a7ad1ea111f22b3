"""Certificates in the lab: every process signs its own for the channel; the port has one that nobody vouches for."""

from __future__ import annotations

import datetime as dt
import time
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from divisions.certificates.authority import read_authority
from divisions.certificates.names import Credentials, Role
from divisions.certificates.request import new_request

LIFETIME = dt.timedelta(days=1)


def write_port_pair(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, ECDSA P-256, as files; returns their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LIFETIME)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "port.crt", folder / "port.key"
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(certificate_path), str(key_path)


def self_signed(role: Role, identity: str, authority: Path) -> Credentials:
    asked = new_request(role, identity)
    return asked.answered(read_authority(authority.read_bytes(), authority).issue(asked.message, time.time()))
