"""A new private key, and the request for its certificate. The key never leaves the node that made it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from divisions.certificates.names import Certificate, CertificateRequest, Credentials, Role


@dataclass(frozen=True, slots=True, repr=False)
class KeyRequest:
    """A key, and what its owner sends to the controller."""

    key: bytes
    message: CertificateRequest

    def answered(self, certificate: Certificate) -> Credentials:
        return Credentials(self.key, certificate.certificate, certificate.authority, certificate.lifetime_s)


def new_request(role: Role, identity: str) -> KeyRequest:
    """Makes a key (P-256) and the request for its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyRequest(pem, CertificateRequest(role, identity, request.public_bytes(serialization.Encoding.PEM)))
