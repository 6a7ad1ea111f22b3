"""Serves the gateway's page, with its headers, and the documents of a scene as the gateway streams them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from router.http.authentication import SECURITY_HEADERS
from router.http.static_files import INDEX, PREFIX, read_page
from tests.e2e.page.scenes import Scene

MOST_S = 120.0
"""No stream lasts longer, whatever becomes of the test."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """The usual five are too few for a browser on a busy machine: it waits a minute for a lost connection."""


class DocumentsServer:
    """``say`` changes what is told; open streams tell it at once."""

    def __init__(self) -> None:
        self._page = read_page()
        self._changed = threading.Condition()
        self._number = 0
        self._is_over = False
        self.scene: Scene
        self.num_streams = 0
        self.asked: list[tuple[str, str, bytes]] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def say(self, scene: Scene) -> None:
        with self._changed:
            self.scene = scene
            self._number += 1
            self._changed.notify_all()

    def count_stream(self, number: int) -> None:
        with self._changed:
            self.num_streams += number

    def close(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def changes(self) -> Iterator[Scene]:
        told = -1
        while not self._is_over:
            with self._changed:
                if self._number == told and not self._changed.wait(MOST_S):
                    return
                if self._is_over:
                    return
                told, scene = self._number, self.scene
            yield scene

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = MOST_S

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                file = server._page.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
                if path == "/" and "text/html" in self.headers.get("accept", ""):
                    file = server._page[INDEX]
                if file is not None:
                    self._answer(200, file.media, file.data)
                elif path == "/":
                    self._json(server.scene.index)
                elif path == "/api/v2/events":
                    self._stream()
                elif path.startswith("/api/v2/drift/"):
                    endpoints = server.scene.house["drift"]["endpoints"]
                    self._json(endpoints[0])
                else:
                    self._answer(404, "application/problem+json", b'{"detail":"no such thing"}')

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                server.asked.append((self.path, self.headers.get("if-match", ""), body))
                self._json({"phase": "ROLLING_BACK"})

            def _json(self, document: Any) -> None:
                self._answer(200, "application/json", msgspec.json.encode(document))

            def _answer(self, status: int, media: str, data: bytes) -> None:
                self._head(status, media, {"content-length": str(len(data))})
                self.wfile.write(data)

            def _head(self, status: int, media: str, others: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"content-type": media, **SECURITY_HEADERS, **others}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _stream(self) -> None:
                self.close_connection = True
                self._head(200, "text/event-stream", {"connection": "close"})
                server.count_stream(1)
                with contextlib.suppress(OSError):
                    for scene in server.changes():
                        for name, document in (("status", scene.status), ("house", scene.house)):
                            if document:
                                self._event(name, document)
                        if scene.away:
                            self._event("away", {"reason": scene.away})
                server.count_stream(-1)

            def _event(self, name: str, document: Any) -> None:
                self.wfile.write(b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(document)))
                self.wfile.flush()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
