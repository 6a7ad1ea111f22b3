"""Asks a Ray head who it is, before Ray does. Ray would repeat a call with a wrong token, or to a port that is silent,
for a minute or for ever, and say nothing but lines in a log."""

from __future__ import annotations

import grpc

from divisions.environment import ray_uses_tls
from divisions.errors import AccessDeniedError, NotRunningError

METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
ANSWER_S = 10.0
_TOKEN_REMEDY = "give its token: RAY_AUTH_TOKEN, the file of RAY_AUTH_TOKEN_PATH, or --token-file of `divisions join`"


def require_head(address: str, token: str) -> None:
    """Checks that a Ray head answers at ``HOST:PORT``, and that it takes our token (empty for none).

    Raises:
        NotRunningError: no head answers there.
        AccessDeniedError: it refuses the token, or asks for one.
    """
    if ray_uses_tls():
        return  # We have none of its certificates.
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(b"", metadata=metadata, timeout=ANSWER_S)
        except grpc.RpcError as error:
            _explain(address, token, error.code(), error.details() or "")


def _explain(address: str, token: str, code: grpc.StatusCode, details: str) -> None:
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return  # A Ray that names the call differently; it will speak for itself.
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        what = "refuses our token" if token else "asks for a token, and we have none"
        raise AccessDeniedError(f"the Ray cluster at {address} {what}", remedy=_TOKEN_REMEDY)
    first = details.splitlines()[0][:200] if details else code.name
    raise NotRunningError(
        f"no Ray head answers at {address}: {first}", remedy="give the address of its GCS, of `ray start --head --port`"
    )
