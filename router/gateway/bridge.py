"""The bridge between a gateway's process and its stand-in inside Ray. Only the stand-in can call the controller.

Each side holds one end of a socket pair. A message is a u32 little-endian length and msgpack. When one process ends,
for any reason, the other one reads the end of the stream and knows.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from divisions import errors
from divisions.access.requests import Actor, TokenCommand
from divisions.certificates.names import Credentials
from divisions.control import ReplicaAddress, RoutingTable
from divisions.error_names import BY_NAME
from divisions.promotion import ApprovalCommand
from divisions.reports import GatewayReport, LimitShares

CALL_TIMEOUT_S = 10.0
CREDENTIALS = "credentials"
"""A call that the stand-in answers, see `router.gateway.credentials`."""
Argument = bytes | bool | int | float
_LENGTH = struct.Struct("<I")


class Call(msgspec.Struct, frozen=True, tag=True):
    """The gateway calls a method of the controller."""

    call_id: int
    method: str
    arguments: tuple[Argument, ...]
    timeout_s: float


class Listening(msgspec.Struct, frozen=True, tag=True):
    """The gateway's port is open."""


class Beat(msgspec.Struct, frozen=True, tag=True):
    """The gateway's loop turns and all of its tasks run. Sent once a second."""


class Result(msgspec.Struct, frozen=True, tag=True):
    """The return value of a call."""

    call_id: int
    data: bytes


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The error of a call; with ``call_id`` 0, the reason why the gateway cannot start."""

    call_id: int
    code: str
    message: str
    remedy: str


FromGateway = Call | Listening | Beat | Failure
ToGateway = Result | Failure


def failure(call_id: int, error: Exception) -> Failure:
    """Packs an error. Of one that is not ours only the class: its text may hold a traceback and addresses."""
    if isinstance(error, errors.DivisionsError):
        return Failure(call_id, type(error).__name__, error.message, error.remedy)
    message = f"the controller failed unexpectedly ({type(error).__name__})"
    return Failure(call_id, "DivisionsError", message, "the logs in the home's logs folder have the details")


def error_of(packed: Failure) -> errors.DivisionsError:
    kind = BY_NAME.get(packed.code, errors.DivisionsError)
    return kind(packed.message, remedy=packed.remedy)


def send(writer: asyncio.StreamWriter, message: FromGateway | ToGateway) -> None:
    """Sends a message. If the other end is gone the message is dropped; the reader notices the end."""
    data = msgspec.msgpack.encode(message)
    if not writer.is_closing():
        writer.write(_LENGTH.pack(len(data)) + data)


async def receive(reader: asyncio.StreamReader, kind: Any) -> Any:
    """The next message, one of ``kind``; None at the end of the stream."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return msgspec.msgpack.decode(await reader.readexactly(length), type=kind)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class BridgeLink:
    """The gateway's `router.predict.controller_link.ControllerLink`: every call goes over the bridge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._count = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def poll_table(self, known_epoch: int, timeout_s: float, known_access: str) -> RoutingTable:
        arguments = (known_epoch, timeout_s, known_access.encode())
        data = await self._call("poll_table", *arguments, timeout_s=timeout_s + CALL_TIMEOUT_S)
        return msgspec.msgpack.decode(data, type=RoutingTable)

    async def report(self, report: GatewayReport) -> LimitShares:
        shares = await self._call("report", msgspec.msgpack.encode(report))
        return msgspec.msgpack.decode(shares, type=LimitShares) if shares else LimitShares()

    async def register_replica(self, address: ReplicaAddress) -> None:
        await self._call("register_replica", msgspec.msgpack.encode(address))

    async def reference(self, bundle_sha256: str) -> bytes:
        return await self._call("reference", bundle_sha256.encode())

    async def replicas_lost(self, replica_ids: tuple[str, ...]) -> None:
        await self._call("replicas_lost", msgspec.msgpack.encode(replica_ids))

    async def credentials(self, gateway_id: str) -> Credentials:
        data = await self._call(CREDENTIALS, gateway_id.encode())
        return msgspec.msgpack.decode(data, type=Credentials)

    async def start_rollout(self, spec_json: bytes, force: bool, actor: Actor) -> bytes:
        return await self._call("start_rollout", spec_json, force, msgspec.json.encode(actor))

    async def command(self, command_json: bytes, actor: Actor) -> bytes:
        return await self._call("command", command_json, msgspec.json.encode(actor))

    async def manage_tokens(self, command: TokenCommand, actor: Actor) -> bytes:
        return await self._call("manage_tokens", msgspec.json.encode(command), msgspec.json.encode(actor))

    async def manage_approvals(self, command: ApprovalCommand, actor: Actor) -> bytes:
        return await self._call("manage_approvals", msgspec.json.encode(command), msgspec.json.encode(actor))

    async def status(self) -> bytes:
        return await self._call("status")

    async def drift(self, endpoint: str) -> bytes:
        return await self._call("drift", endpoint.encode())

    async def house(self, known: Mapping[str, str]) -> bytes:
        return await self._call("house", msgspec.json.encode(known))

    async def _call(self, method: str, *arguments: Argument, timeout_s: float = CALL_TIMEOUT_S) -> bytes:
        self._count += 1
        call_id = self._count
        future = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        try:
            send(self._writer, Call(call_id, method, arguments, timeout_s))
            result: bytes = await future
        finally:
            del self._waiting[call_id]
        return result

    async def run(self) -> None:
        """Gives results to the calls that wait for them; returns when the other end is gone."""
        while (message := await receive(self._reader, ToGateway)) is not None:
            future = self._waiting.get(message.call_id)
            if future is None or future.done():
                continue
            if isinstance(message, Result):
                future.set_result(message.data)
            else:
                future.set_exception(error_of(message))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(errors.NotRunningError("the gateway has lost its bridge to the controller"))
