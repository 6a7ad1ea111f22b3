"""The cluster's certificate authority: made once, kept by the controller, signs for gateways and replicas.

A certificate is good for one role: a gateway's for clients, a replica's for servers (extended key usage, which OpenSSL
checks). It begins an hour early, because the clocks of nodes differ.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from divisions.certificates.names import Certificate, CertificateRequest, Role, host_name
from divisions.errors import ChannelError, SettingsError

LIFETIME_S = 3 * 86_400.0
"""Of a certificate. It is renewed after a third, so the controller may be away for two days."""
AUTHORITY_LIFETIME_S = 10 * 365 * 86_400.0
MIN_REST_S = 30 * 86_400.0
"""An authority with less time than this is not used for a new cluster."""
SKEW_S = 3_600.0

_USAGES = {Role.GATEWAY: ExtendedKeyUsageOID.CLIENT_AUTH, Role.REPLICA: ExtendedKeyUsageOID.SERVER_AUTH}
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class Authority:
    """A certificate that may sign others, and its private key."""

    def __init__(self, certificate: x509.Certificate, key: _Key) -> None:
        self._certificate = certificate
        self._key = key

    @property
    def pem(self) -> bytes:
        """Key and certificate. It is a secret."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + self.certificate_pem

    @property
    def certificate_pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def rest_s(self, now_s: float) -> float:
        """How much longer it is valid."""
        return self._certificate.not_valid_after_utc.timestamp() - now_s

    def is_same_as(self, other: Authority) -> bool:
        """Whether each takes the other's certificates: a renewed one keeps its key and its name."""
        mine, its = self._certificate, other._certificate
        return mine.public_key() == its.public_key() and mine.subject == its.subject

    def issue(self, request: CertificateRequest, now_s: float) -> Certificate:
        """Signs a certificate for a role and an identity.

        Raises:
            ChannelError: the request is malformed, its key is not P-256, or the authority has expired.
        """
        public = _public_key(request.request)
        lifetime_s = min(LIFETIME_S, self.rest_s(now_s))
        if lifetime_s <= 0:
            raise ChannelError("the cluster's certificate authority has expired", remedy="take the cluster down and up")
        builder = _builder(public, now_s, lifetime_s).issuer_name(self._certificate.subject)
        name = host_name(request.role, request.identity)
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        certificate = (
            builder.subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
            .add_extension(constraints, critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USAGES[request.role]]), critical=True)
            .add_extension(_issuer_key(self._certificate), critical=False)
            .sign(self._key, _digest(self._key))
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Certificate(pem, self.certificate_pem, lifetime_s)


def new_authority(now_s: float) -> Authority:
    """Makes an authority that can sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Divisions data channel")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    public = key.public_key()
    builder = _builder(public, now_s, AUTHORITY_LIFETIME_S).subject_name(name).issuer_name(name)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def read_authority(pem: bytes, origin: Path | str) -> Authority:
    """Reads a key and a certificate in PEM, in any order. Further certificates are ignored.

    Raises:
        SettingsError: one is missing, they do not belong together, or the certificate may not sign others.
    """
    remedy = "give a file with the certificate of an authority and its private key, both PEM, the key not encrypted"
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{origin} has no certificate authority: {error}", remedy=remedy) from None
    if not isinstance(key, _Key):
        raise SettingsError(f"{origin} has a key that cannot sign certificates", remedy=remedy)
    if key.public_key() != certificate.public_key():
        raise SettingsError(f"{origin} has a key that is not its certificate's", remedy=remedy)
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise SettingsError(f"the certificate in {origin} is not that of an authority", remedy=remedy)
    return Authority(certificate, key)


def _public_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        parsed = x509.load_pem_x509_csr(request)
        public = parsed.public_key()
    except (ValueError, TypeError) as error:
        raise ChannelError(f"the request for a certificate is malformed: {error}") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ChannelError("the request for a certificate has a key that is not P-256")
    if not parsed.is_signature_valid:
        raise ChannelError("the request for a certificate is not signed by its own key")
    return public


def _builder(public: ec.EllipticCurvePublicKey, now_s: float, lifetime_s: float) -> x509.CertificateBuilder:
    begin_s, end_s = now_s - SKEW_S, now_s + lifetime_s
    begin, end = (datetime.datetime.fromtimestamp(at_s, datetime.UTC) for at_s in (begin_s, end_s))
    builder = x509.CertificateBuilder().public_key(public).serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(end)


def _issuer_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]  # one of _Key's
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _digest(key: _Key) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
