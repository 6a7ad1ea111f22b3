"""What answers at the address of a Ray head, and whether it takes our token."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from deploy.supervision import head_check
from deploy.supervision.head_check import METHOD, require_head
from divisions.errors import AccessDeniedError, NotRunningError


class Head(grpc.GenericRpcHandler):
    """Answers as Ray's GCS does, to those who show its token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def service(self, handler_call_details):
        if handler_call_details.method != METHOD:
            return None
        shown = dict(handler_call_details.invocation_metadata).get("authorization", "")

        def answer(request, context):
            if self._token and shown != f"Bearer {self._token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def serve():
    servers = []

    def start(handler):
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None)


def test_a_token_is_taken_refused_or_asked_for(serve):
    head = serve(Head("right"))
    require_head(head, "right")
    with pytest.raises(AccessDeniedError, match="refuses our token") as caught:
        require_head(head, "wrong")
    assert "RAY_AUTH_TOKEN" in caught.value.remedy
    with pytest.raises(AccessDeniedError, match="asks for a token, and we have none"):
        require_head(head, "")
    require_head(serve(Head("")), "")


def test_what_is_no_head_is_told(serve, monkeypatch):
    monkeypatch.setattr(head_check, "ANSWER_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NotRunningError, match=f"no Ray head answers at {address}"):
            require_head(address, "")
        silent.listen()  # it takes connections, and never answers
        with pytest.raises(NotRunningError, match=f"no Ray head answers at {address}"):
            require_head(address, "")
    require_head(serve(grpc.method_handlers_generic_handler("other", {})), "")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    require_head("127.0.0.1:1", "")
