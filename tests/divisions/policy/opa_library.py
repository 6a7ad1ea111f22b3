"""Open Policy Agent's own engine, as a library; and a small server around it, as `opa run --server` answers."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from divisions.policy.bundle import Bundle
from divisions.policy.opa import PATH


def engine_of(bundle: Bundle, data: dict[str, Any] | None = None) -> Callable[[str, dict[str, Any]], Any]:
    """Evaluates the rule at a path; None if it is undefined. Skips the test where the library is not installed."""
    bindings = pytest.importorskip("opa_bindings", reason="`make opa` installs Open Policy Agent's engine")
    try:
        engine = bindings.OpaEngine()  # loads the library
    except OSError as error:
        pytest.skip(f"Open Policy Agent's engine cannot be loaded: {error}")
    for module in bundle.modules:
        engine.add_policy(module.name, module.text)
    engine.add_data(data or bundle.data)

    def evaluate(path: str, document: dict[str, Any]) -> Any:
        try:
            return engine.eval_document(path.replace("/", "."), document)
        except bindings.engine.OpaUndefinedError:
            return None

    return evaluate


@contextlib.contextmanager
def server(answer: Callable[[http.server.BaseHTTPRequestHandler, dict[str, Any]], None]) -> Iterator[str]:
    """A server whose handler writes what it likes; the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement

        def do_POST(self) -> None:
            assert self.path == PATH
            document = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
            with contextlib.suppress(OSError):
                answer(self, document)

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()


def reply(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
