"""The stand-in makes a gateway's key; the controller sees the request only."""

import asyncio

import msgspec
import pytest

from divisions.certificates.authority import new_authority
from divisions.certificates.contexts import client_context
from divisions.certificates.names import Credentials
from divisions.clock import SystemClock
from divisions.errors import ChannelError
from router.control.certificates import CertificateDesk
from router.gateway.bridge import CREDENTIALS
from router.gateway.credentials import CredentialCalls


def test_a_gateway_gets_a_key_that_the_controller_never_sees(tmp_path):
    (tmp_path / "ca.pem").write_bytes(new_authority(SystemClock().wall_s()).pem)
    desk = CertificateDesk(tmp_path / "ca.pem", SystemClock())
    seen = []

    async def controller(method, arguments, timeout_s):
        seen.append((method, arguments, timeout_s))
        return desk.issue(*arguments)

    data = asyncio.run(CredentialCalls(controller).call(CREDENTIALS, (b"g1",), 7.0))
    credentials = msgspec.msgpack.decode(data, type=Credentials)
    client_context(credentials)
    ((method, (message,), timeout_s),) = seen
    assert (method, timeout_s) == ("issue_certificate", 7.0)
    assert b"PRIVATE" not in message
    assert b"PRIVATE" in credentials.key


def test_other_calls_go_to_the_controller_as_they_are():
    async def controller(method, arguments, timeout_s):
        return repr((method, arguments, timeout_s)).encode()

    assert asyncio.run(CredentialCalls(controller).call("status", (), 1.0)) == b"('status', (), 1.0)"


def test_a_refusal_reaches_the_gateway():
    async def controller(method, arguments, timeout_s):
        raise ChannelError("no authority")

    with pytest.raises(ChannelError, match="no authority"):
        asyncio.run(CredentialCalls(controller).call(CREDENTIALS, (b"g1",), 7.0))
