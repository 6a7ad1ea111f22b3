"""The controller's desk for certificates."""

import msgspec
import pytest

from divisions.certificates.authority import new_authority
from divisions.certificates.contexts import client_context, server_context
from divisions.certificates.names import Certificate, CertificateRequest, Role
from divisions.certificates.request import new_request
from divisions.clock import SystemClock
from divisions.errors import ChannelError
from router.control.certificates import CertificateDesk


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "ca.pem").write_bytes(new_authority(SystemClock().wall_s()).pem)
    return CertificateDesk(tmp_path / "ca.pem", SystemClock())


@pytest.mark.parametrize(("role", "context"), [(Role.GATEWAY, client_context), (Role.REPLICA, server_context)])
def test_it_signs_what_a_node_can_use(desk, role, context):
    asked = new_request(role, "one")
    answer = desk.issue(msgspec.msgpack.encode(asked.message))
    context(asked.answered(msgspec.msgpack.decode(answer, type=Certificate)))


@pytest.mark.parametrize("message", [b"", b"\xc1", msgspec.msgpack.encode({"role": "admin"})])
def test_it_signs_nothing_that_is_no_request(desk, message):
    with pytest.raises(ChannelError, match="malformed"):
        desk.issue(message)


def test_a_cluster_without_an_authority_says_so(tmp_path):
    message = msgspec.msgpack.encode(CertificateRequest(Role.GATEWAY, "g", b""))
    with pytest.raises(ChannelError, match=r"no certificate authority.*DIVISIONS_CHANNEL_HOST"):
        CertificateDesk(tmp_path / "ca.pem", SystemClock()).issue(message)


def test_no_key_is_logged(desk, caplog):
    caplog.set_level("DEBUG")
    asked = new_request(Role.GATEWAY, "g-7")
    desk.issue(msgspec.msgpack.encode(asked.message))
    assert "g-7" in caplog.text
    assert "BEGIN" not in caplog.text
