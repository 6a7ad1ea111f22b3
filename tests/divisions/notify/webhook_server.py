"""A server on the loopback interface that misbehaves as told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading


class WebhookServer:
    """Answers connection after connection by ``script``: bytes, ``hang``, ``drip``, ``close`` or ``die``.

    ``requests`` are what it has read. After the script it answers 200.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.script: list[bytes | str] = []
        self.requests: list[bytes] = []
        self._context = context
        self._is_ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._is_ended.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._is_ended.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(30)
                if self._context is not None:
                    with self._context.wrap_socket(connection, server_side=True) as secure:
                        self._answer(secure)
                else:
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        todo = self.script.pop(0) if self.script else ok()
        if todo == "close":
            return
        self.requests.append(_read(connection))
        match todo:
            case bytes():
                connection.sendall(todo)
            case "hang":
                connection.recv(1)  # until the client goes
            case "drip":
                while not self._is_ended.wait(0.02):
                    connection.sendall(b"H")
            case "die":
                connection.sendall(b"HTTP/1.1 2")


def ok(status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: 2\r\n\r\nok".encode()


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < length:
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    """Raises `ConnectionError` if the client has gone: a thread that read on for ever would slow all later tests."""
    if data := connection.recv(65_536):
        return data
    raise ConnectionError("the client has gone")
