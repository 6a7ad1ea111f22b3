"""Both ends of the channel in memory: who is accepted, who is not, and why."""

from __future__ import annotations

import contextlib
import datetime
import gc
import os
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from divisions.certificates.authority import Authority, new_authority, read_authority
from divisions.certificates.contexts import client_context, server_context
from divisions.certificates.names import Credentials, Role, has_role, host_name
from divisions.certificates.request import new_request
from divisions.clock import SystemClock

NOW_S = SystemClock().wall_s()
OURS, THEIRS = new_authority(NOW_S), new_authority(NOW_S)


def credentials(role: Role, identity: str = "r1", authority: Authority = OURS, at_s: float = NOW_S) -> Credentials:
    asked = new_request(role, identity)
    return asked.answered(authority.issue(asked.message, at_s))


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Returns the server's end once both have seen a byte of the other; raises what the first to refuse raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    at_server = server.wrap_bio(to_server, to_client, server_side=True)
    at_client = client.wrap_bio(to_client, to_server, server_hostname=name)
    ends = [
        [at_client.do_handshake, lambda: at_client.write(b"?")],
        [at_server.do_handshake, lambda: at_server.read(1)],
    ]
    for steps in ends * 5:
        with contextlib.suppress(ssl.SSLWantReadError):
            while steps:
                steps[0]()
                del steps[0]
    if not any(ends):
        return at_server
    raise AssertionError("no handshake")


def connect(replica: Credentials, gateway: Credentials, name: str = host_name(Role.REPLICA, "r1")) -> ssl.SSLObject:
    return shake_hands(server_context(replica), client_context(gateway), name)


def test_a_gateway_and_a_replica_of_one_cluster_trust_each_other():
    end = connect(credentials(Role.REPLICA), credentials(Role.GATEWAY, "g1"))
    assert end.version() == "TLSv1.3"
    assert has_role(end.getpeercert(), Role.GATEWAY)
    assert not has_role(end.getpeercert(), Role.REPLICA)
    assert not end.session.has_ticket


@pytest.mark.parametrize(
    ("replica", "gateway", "reason"),
    [
        (credentials(Role.REPLICA, "r2"), credentials(Role.GATEWAY), "Hostname mismatch"),
        (credentials(Role.GATEWAY), credentials(Role.GATEWAY), "(?i)unsuitable certificate purpose"),
        (credentials(Role.REPLICA), credentials(Role.REPLICA), "(?i)unsuitable certificate purpose"),
        (credentials(Role.REPLICA, authority=THEIRS), credentials(Role.GATEWAY), "self-signed|unable to get"),
        (
            credentials(Role.REPLICA),
            credentials(Role.GATEWAY, authority=THEIRS),
            "unable to get|self-signed",
        ),
        (credentials(Role.REPLICA, at_s=NOW_S - 4 * 86_400), credentials(Role.GATEWAY), "expired"),
        (credentials(Role.REPLICA), credentials(Role.GATEWAY, at_s=NOW_S - 4 * 86_400), "expired"),
        (credentials(Role.REPLICA, at_s=NOW_S + 2 * 3_600), credentials(Role.GATEWAY), "not yet valid"),
    ],
    ids=[
        "another replica",
        "a gateway as replica",
        "a replica as gateway",
        "a replica of another cluster",
        "a gateway of another cluster",
        "an expired replica",
        "an expired gateway",
        "a replica of the future",
    ],
)
def test_nobody_else_is_accepted(replica, gateway, reason):
    # The gateway's own trust is ours even where its certificate is not.
    gateway = Credentials(gateway.key, gateway.certificate, OURS.certificate_pem, 0.0)
    replica = Credentials(replica.key, replica.certificate, OURS.certificate_pem, 0.0)
    with pytest.raises(ssl.SSLError, match=reason):
        connect(replica, gateway)


def test_an_intermediate_authority_is_enough():
    """Whoever gives one need not give its root."""
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.datetime.fromtimestamp(NOW_S - 3_600, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "intermediate")]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    between = read_authority(certificate.public_bytes(serialization.Encoding.PEM) + private, "file")
    end = connect(credentials(Role.REPLICA, authority=between), credentials(Role.GATEWAY, authority=between))
    assert has_role(end.getpeercert(), Role.GATEWAY)


def test_no_session_is_resumed():
    """One would be accepted without a look at the certificate."""
    assert server_context(credentials(Role.REPLICA)).num_tickets == 0


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ({"subjectAltName": (("URI", "spiffe://x"), ("DNS", host_name(Role.GATEWAY, "g")))}, True),
        ({"subjectAltName": (("URI", host_name(Role.GATEWAY, "g")),)}, False),
        ({"subjectAltName": (("DNS", "gateway.divisions.example"),)}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_role_is_one_of_the_names(peer, found):
    assert has_role(peer, Role.GATEWAY) is found


def test_a_peer_without_a_certificate_is_refused():
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=OURS.certificate_pem.decode())
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        shake_hands(server_context(credentials(Role.REPLICA)), client, host_name(Role.REPLICA, "r1"))


def test_an_older_protocol_is_refused():
    client = client_context(credentials(Role.GATEWAY))
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="unsupported protocol"):
        shake_hands(server_context(credentials(Role.REPLICA)), client, host_name(Role.REPLICA, "r1"))


def test_a_clock_that_is_half_an_hour_behind_does_no_harm():
    ahead = credentials(Role.REPLICA, at_s=NOW_S + 1_800)
    assert connect(ahead, credentials(Role.GATEWAY, at_s=NOW_S + 1_800)).version() == "TLSv1.3"


def test_a_key_is_never_shown_and_leaves_no_file_open():
    gc.collect()  # files that earlier tests have left
    before = set(os.listdir("/proc/self/fd"))
    secret = credentials(Role.REPLICA)
    server_context(secret)
    assert set(os.listdir("/proc/self/fd")) - before == set()
    assert "KEY" not in repr(secret)
    assert "KEY" not in repr(new_request(Role.GATEWAY, "g"))
