"""A gateway's certificate. Its parent makes the key and asks the controller, so the gateway needs no cryptography.

The gateway calls `CREDENTIALS` like a method of the controller; the key goes over the socket pair of the two only.
"""

from __future__ import annotations

import asyncio

import msgspec

from divisions.certificates.names import Certificate, Role
from router.gateway.bridge import CREDENTIALS, Argument
from router.gateway.child import CallController


class CredentialCalls:
    """Answers `CREDENTIALS` itself, and passes every other call on."""

    def __init__(self, call: CallController) -> None:
        self._call = call

    async def call(self, method: str, arguments: tuple[Argument, ...], timeout_s: float) -> bytes:
        if method != CREDENTIALS:
            return await self._call(method, arguments, timeout_s)
        from divisions.certificates.request import new_request  # a machine of its own needs no certificates

        (gateway_id,) = arguments
        assert isinstance(gateway_id, bytes)
        asked = await asyncio.to_thread(new_request, Role.GATEWAY, gateway_id.decode())
        answer = await self._call("issue_certificate", (msgspec.msgpack.encode(asked.message),), timeout_s)
        return msgspec.msgpack.encode(asked.answered(msgspec.msgpack.decode(answer, type=Certificate)))
