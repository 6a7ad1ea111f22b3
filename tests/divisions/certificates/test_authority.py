"""What the authority signs, and which files hold one."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from divisions.certificates.authority import Authority, new_authority, read_authority
from divisions.certificates.names import CertificateRequest, Role, host_name
from divisions.certificates.request import new_request
from divisions.errors import ChannelError, SettingsError

NOW_S = 1_800_000_000.0
AUTHORITY = new_authority(NOW_S)


def given_authority(key, is_authority: bool | None = True, days: int = 400) -> bytes:
    """A file as an operator's own authority would give it."""
    begin = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "corporate")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=days))
    if is_authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM) + pem(key)


def pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@given(st.text(max_size=300), st.sampled_from(Role))
def test_a_certificate_names_its_role_and_identity_whatever_that_is(identity, role):
    issued = AUTHORITY.issue(CertificateRequest(role, identity, REQUEST), NOW_S)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [host_name(role, identity)]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.authority))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc.timestamp() == NOW_S - 3_600
    assert certificate.not_valid_after_utc.timestamp() == NOW_S + issued.lifetime_s == NOW_S + 3 * 86_400


def test_a_new_authority_signs_leaves_and_nothing_else_for_ten_years():
    """RFC 5280, 4.2.1: basic constraints and key usage are critical, the key's name is not."""
    certificate = x509.load_pem_x509_certificate(AUTHORITY.certificate_pem)
    found = {type(each.value): each for each in certificate.extensions}
    constraints, usage = found[x509.BasicConstraints], found[x509.KeyUsage]
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert [name for name in USAGES if getattr(usage.value, name)] == ["key_cert_sign"]
    assert [constraints.critical, usage.critical, found[x509.SubjectKeyIdentifier].critical] == [True, True, False]
    assert AUTHORITY.rest_s(NOW_S) == 10 * 365 * 86_400


USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
          "key_cert_sign", "crl_sign")  # fmt: skip


def test_what_a_leaf_is_for_may_not_be_ignored():
    issued = AUTHORITY.issue(CertificateRequest(Role.REPLICA, "r", REQUEST), NOW_S)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    critical = {type(each.value): each.critical for each in certificate.extensions}
    assert critical == {
        x509.SubjectAlternativeName: True,
        x509.BasicConstraints: True,
        x509.ExtendedKeyUsage: True,
        x509.AuthorityKeyIdentifier: False,
    }


REQUEST = new_request(Role.GATEWAY, "g").message.request


@given(st.binary(max_size=2_000))
def test_no_noise_is_signed(noise):
    with pytest.raises(ChannelError, match="malformed"):
        AUTHORITY.issue(CertificateRequest(Role.GATEWAY, "g", noise), NOW_S)


def test_a_weak_key_is_not_signed():
    key = rsa.generate_private_key(65537, 1024)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(ChannelError, match="not P-256"):
        AUTHORITY.issue(CertificateRequest(Role.GATEWAY, "g", request.public_bytes(serialization.Encoding.PEM)), NOW_S)


def test_somebody_elses_key_is_not_signed():
    """A request must be signed by the key that it asks for."""
    data = bytearray(x509.load_pem_x509_csr(REQUEST).public_bytes(serialization.Encoding.DER))
    data[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(data)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(ChannelError, match=r"not signed by its own key|malformed"):
        AUTHORITY.issue(CertificateRequest(Role.GATEWAY, "g", forged), NOW_S)


def test_no_certificate_outlives_its_authority():
    short = read_authority(given_authority(ec.generate_private_key(ec.SECP256R1()), days=1), "file")
    issued = short.issue(CertificateRequest(Role.GATEWAY, "g", REQUEST), NOW_S)
    assert issued.lifetime_s == 86_400.0
    assert short.issue(CertificateRequest(Role.GATEWAY, "g", REQUEST), NOW_S + 86_399).lifetime_s == 1.0
    with pytest.raises(ChannelError, match="expired"):
        short.issue(CertificateRequest(Role.GATEWAY, "g", REQUEST), NOW_S + 86_400)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA", "P-384", "Ed25519"],
)
def test_an_authority_may_be_given_with_any_usual_key(key):
    authority = read_authority(given_authority(key), "ca.pem")
    issued = authority.issue(CertificateRequest(Role.REPLICA, "r", REQUEST), NOW_S)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.authority))


KEY = ec.generate_private_key(ec.SECP256R1())
EXCHANGE_KEY = pem(x25519.X25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no certificate authority"),
        (pem(KEY), "no certificate authority"),
        (AUTHORITY.certificate_pem, "no certificate authority"),
        (AUTHORITY.certificate_pem + pem(KEY), "not its certificate's"),
        (AUTHORITY.certificate_pem + EXCHANGE_KEY, "a key that cannot sign"),
        (given_authority(KEY, is_authority=False), "not that of an authority"),
        (given_authority(KEY, is_authority=None), "not that of an authority"),
    ],
    ids=["empty", "no certificate", "no key", "another key", "a key for exchange", "a leaf", "of no kind"],
)
def test_a_file_without_an_authority_is_named(text, reason):
    with pytest.raises(SettingsError, match=reason) as caught:
        read_authority(text, "/etc/ca.pem")
    assert "/etc/ca.pem" in str(caught.value)


def test_an_authority_reads_what_it_wrote():
    again = read_authority(AUTHORITY.pem, "file")
    assert isinstance(again, Authority)
    assert again.pem == AUTHORITY.pem
